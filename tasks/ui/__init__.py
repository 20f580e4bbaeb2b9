"""Pages, progress bars and reports for Prefect's UI."""
