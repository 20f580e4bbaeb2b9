"""Prefect tasks: submit, wait, download, record. A thin coat over the domain: retries, names, progress.

from tasks.submit import submit
"""
