"""Ports that listen and are no usable Prefect server, on threads of this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

Answer = Callable[[str], bytes]
"""The bytes that answer a GET of a path; none: nothing is answered."""


def http(status: int, body: str = "", **headers: str) -> bytes:
    """A complete answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body.encode()


def locked(path: str) -> bytes:
    """A Prefect server with a password."""
    return (
        http(200, "true") if path.endswith("/health") else http(401, '{"exception_message":"Unauthorized"}')
    )


ANSWERS: Mapping[str, Answer] = {
    "401": lambda _: http(401, "who are you"),
    "404": lambda _: http(404),
    "HTML": lambda _: http(200, "<html>welcome</html>"),
    "another JSON": lambda _: http(200, '{"status": "up"}'),
    "302": lambda _: http(302, Location="/login"),
    "500": lambda _: http(500, "oh"),
    "503": lambda _: http(503, "later", Retry_After="60"),
    "429": lambda _: http(429, "", Retry_After="60"),
    "not HTTP": lambda _: b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "hangs up": lambda _: b"\r",
    "half an answer": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntr",
    "a password": locked,
    "silent": lambda _: b"",
}
"""What a port may answer, by its kind."""


@contextmanager
def listening(answer: Answer, *, whole_head: bool = False) -> Iterator[tuple[str, list[str]]]:
    """A port that answers every connection with `answer`: its URL, and the paths that it is asked for.

    `answer` gets the path, or the whole head of the request.
    """
    asked: list[str] = []
    connections = ExitStack()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            head = connection.recv(65536).decode("latin-1")
            path = head.split(" ")[1] if head.count(" ") > 1 else ""
            asked.append(path)
            if said := answer(head if whole_head else path):
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.callback(connection.close)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        connections.close()
