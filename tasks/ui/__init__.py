"""What Prefect's UI shows of songs and sweeps: pages, progress, reports."""
