"""A shell that runs the tests in the background leaves SIGINT ignored, which the commands under test inherit."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
