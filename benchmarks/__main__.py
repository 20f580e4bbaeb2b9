"""`python -m benchmarks`: run every benchmark and print its table."""

from __future__ import annotations

from benchmarks import start

if __name__ == "__main__":
    start.main()
