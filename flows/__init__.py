"""Prefect flows: what a user runs, schedules or starts in Prefect's UI.

from flows.generate import generate_song
"""
