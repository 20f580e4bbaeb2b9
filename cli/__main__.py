"""`python -m cli` is `songflow`."""

from cli.main import main

main()
