"""The `songflow` command: parses, calls flows or the domain, prints."""
