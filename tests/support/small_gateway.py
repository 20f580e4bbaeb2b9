"""A gateway on a real socket that is one function: from method, path, body and headers to an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = Callable[[str, str, Any, Mapping[str, str]], Any]
"""Bytes are a song, everything else JSON. The body is parsed JSON; None for a GET."""


@contextmanager
def small_gateway(answer: Answer) -> Iterator[str]:
    """Serve, and give the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.give(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            self.give(None)

        def give(self, body: Any) -> None:
            given = answer(self.command, self.path, body, dict(self.headers))
            content = given if isinstance(given, bytes) else json.dumps(given).encode()
            self.send_response(200)
            self.send_header("Content-Type", "audio/mpeg" if content is given else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
