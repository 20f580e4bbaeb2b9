"""Process-level helpers: shutdown, concurrency, retries, fail points."""
