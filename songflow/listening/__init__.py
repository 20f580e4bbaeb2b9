"""The listening room: play, compare and rate a library's songs in a browser on this machine.

uvicorn.run(listening_app(LibrarySettings.from_environment()), host="127.0.0.1")
"""

from songflow.listening.app import listening_app

__all__ = ["listening_app"]
