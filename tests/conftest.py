"""A shell that starts the tests in the background leaves SIGINT ignored, and every command under test would inherit it."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
