"""The asking process's end: one sender for each process, shared by its threads and event loops.

Where no process can be started, and for a gateway that only this process knows, the same code sends from a thread.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from songflow.gateways.dialects import CUSTOM, DIALECTS
from songflow.gateways.submit import NotSent, Outcome
from songflow.ledger.lease import ProcessIdentity
from songflow.runtime.programs import isolated_python
from songflow.sender.orders import Order, frame, frames, unpacked
from songflow.settings import sender_environment

__all__ = ["Answered", "Sender", "SenderGone", "sender_for", "start_sender", "tell_to_end"]

log = logging.getLogger(__name__)

# The sender has a session and a process group of its own, and no environment, argument or open file of ours but the
# socket; what it imports is found as we find it, without the start-up files of a site.
_CODE = (
    "import sys; sys.path[:] = sys.argv[2:]; from songflow.sender.process import main; main(int(sys.argv[1]))"
)
_START_SECONDS = 30.0
# After its own deadline a sender has this long to answer.
_MARGIN_SECONDS = 10.0
_DYING_SECONDS = 10.0
# After a signal nothing is begun for so long; a process that lives on may send again.
_ENDING_SECONDS = 5.0


class SenderGone(Exception):
    """The sender ended before it answered: the spool knows what became of the request, or nobody does."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An outcome, and what went wrong in the sender.

    Attributes:
        failure: The type of an exception of our own client's; its outcome is unknown.
        unspooled: Why the spool could not be written; None if it was.
    """

    outcome: Outcome
    failure: str | None = None
    unspooled: str | None = None


class Sender:
    """A running sender.

    Args:
        connection: Our end of the socket.
        process: The sender's process; None if it is a thread of this one.
    """

    def __init__(self, connection: socket.socket, process: subprocess.Popen[bytes] | None) -> None:
        self._connection = connection
        self._process = process
        self._outbox: SimpleQueue[bytes] = SimpleQueue()  # may be filled by a signal handler
        self._orders: dict[str, Future[Answered]] = {}
        self._lock = threading.Lock()
        self.is_gone = False
        self.ready: Future[tuple[ProcessIdentity, frozenset[str]]] = Future()
        self._ended: Future[None] = Future()
        for work in (self._read, self._write):
            threading.Thread(target=work, name="songflow sender", daemon=True).start()

    @property
    def identity(self) -> ProcessIdentity:
        """Which process sends, for the lease of a submission; only of a sender that is ready."""
        return self.ready.result(0)[0]

    def knows(self, gateway: str) -> bool:
        """True if it can speak to this gateway; only of a sender that is ready."""
        known = gateway == CUSTOM or gateway in self.ready.result(0)[1]
        return self._process is None or known or DIALECTS.is_installed(gateway)

    async def post(self, order: Order) -> Answered:
        """Have a request sent at most once. If the caller is cancelled, the sender itself commits its outcome.

        Raises:
            SenderGone: it ended, or did not answer in time and was killed.
        """
        if _is_ending():
            return Answered(NotSent("this process was told to end before the request could be sent"))
        answered: Future[Answered] = Future()
        with self._lock:
            if self.is_gone:
                raise SenderGone
            self._orders[order.id] = answered
        self._tell({"do": "post", "order": order.packed()})
        try:
            async with asyncio.timeout(order.timeout + _MARGIN_SECONDS):
                return await asyncio.wrap_future(answered)
        except TimeoutError:
            await self._kill()
            raise SenderGone from None
        except SenderGone:
            raise
        except BaseException:
            self._tell({"do": "leave", "id": order.id})
            raise
        finally:
            self._orders.pop(order.id, None)

    def settled(self, submission_id: str) -> None:
        """The outcome of a request is in the ledger: the sender need not commit it."""
        self._tell({"do": "settled", "id": submission_id})

    def leave(self, submission_id: str) -> None:
        """Leave an outcome to the sender: nobody here commits it any more."""
        self._tell({"do": "leave", "id": submission_id})

    def stop(self) -> None:
        """Begin nothing that was ordered and has not begun; may be called by a signal handler."""
        self._tell({"do": "stop"})

    def give_up(self) -> None:
        """In a fork: close what belongs to the process that forked."""
        self.is_gone = True
        self._connection.close()
        if self._process is not None:
            self._process.returncode = 0  # it is not the fork's to wait for

    def close(self) -> None:
        """End it when everything that is under way is finished."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    async def wait_until_ready(self) -> bool:
        """False if it does not start."""
        if self.ready.done():
            return self.ready.exception() is None
        try:
            async with asyncio.timeout(_START_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self.ready))
        except (SenderGone, TimeoutError):
            await self._kill()
            return False
        return True

    async def _kill(self) -> None:
        if self._process is not None:
            with suppress(OSError):
                self._process.kill()
        with suppress(TimeoutError):  # in the end the spool may still tell
            async with asyncio.timeout(_DYING_SECONDS if self._process is not None else 0.0):
                await asyncio.shield(asyncio.wrap_future(self._ended))

    def _tell(self, message: dict[str, Any]) -> None:
        self._outbox.put(frame(message))

    def _write(self) -> None:
        with suppress(OSError):
            while content := self._outbox.get():
                self._connection.sendall(content)

    def _read(self) -> None:
        received = bytearray()
        with suppress(OSError):
            while chunk := self._connection.recv(65536):
                received += chunk
                for message in frames(received):
                    self._take(message)
        self.is_gone = True
        if self._process is not None:
            self._process.wait()
        with self._lock:
            left = list(self._orders.values())
        futures: tuple[Future[Any], ...] = (*left, self.ready)
        for future in futures:
            with suppress(InvalidStateError):
                future.set_exception(SenderGone())
        self._outbox.put(b"")
        self._connection.close()
        self._ended.set_result(None)

    def _take(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self.ready.set_result((ProcessIdentity(**message["ready"]), frozenset(message["gateways"])))
            return
        future = self._orders.get(message["id"])
        if future is not None:
            answered = Answered(unpacked(message["outcome"]), message["failed"], message["spool"])
            with suppress(InvalidStateError):  # its caller was cancelled
                future.set_result(answered)


class _Senders:
    """The senders of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: Sender | None = None
        self._thread: Sender | None = None
        self._no_process = False
        self.quiet_until = 0.0

    def __iter__(self) -> Iterator[Sender]:
        return (one for one in (self._process, self._thread) if one is not None)

    def process(self) -> Sender | None:
        """The sender's process, started if there is none; None if none can be started."""
        with self._lock:
            if self._process is not None and not self._process.is_gone:
                return self._process
            if self._no_process:
                return None
            try:
                self._process = _start_process()
            except (OSError, ValueError) as error:
                self._refuse(str(error))
                return None
            return self._process

    def thread(self) -> Sender:
        """The sender that is a thread of this process."""
        with self._lock:
            if self._thread is None or self._thread.is_gone:
                self._thread = _start_thread()
            return self._thread

    def without_process(self) -> None:
        """Its interpreter does not start here: do not wait for another."""
        self._no_process = True
        self._refuse("it does not start")

    def _refuse(self, reason: str) -> None:
        log.warning(
            "No process can be started for paid requests (%s): a thread sends them, and if this process is killed "
            "meanwhile, their answers are lost.",
            reason,
        )


_senders = _Senders()


def _begin_anew() -> None:
    """In a fork: hold no socket of the parent's senders open, and no lock that was perhaps locked."""
    global _senders
    for sender in _senders:
        sender.give_up()
    _senders = _Senders()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def start_sender() -> None:
    """Start this process's sender if it has none; returns at once."""
    _senders.process()


async def sender_for(gateway: str) -> Sender:
    """A sender that is ready and knows a gateway, by its name."""
    process = _senders.process()
    if process is not None:
        if not await process.wait_until_ready():
            _senders.without_process()
        elif process.knows(gateway):
            return process
    thread = _senders.thread()
    await thread.wait_until_ready()
    return thread


def tell_to_end() -> None:
    """This process was told to end: nothing is begun for some seconds. May be called by a signal handler."""
    _senders.quiet_until = time.monotonic() + _ENDING_SECONDS
    for sender in _senders:
        sender.stop()


def _is_ending() -> bool:
    return time.monotonic() < _senders.quiet_until


def _start_process() -> Sender:
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(
                isolated_python(_CODE, str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Whoever reads our stderr to its end must not wait for the sender.
                stderr=subprocess.DEVNULL,
                env=sender_environment(),
            )
    except BaseException:
        ours.close()
        raise
    return Sender(ours, process)


def _start_thread() -> Sender:
    from songflow.sender.process import Desk

    ours, theirs = socket.socketpair()

    def serve() -> None:
        asyncio.run(Desk(theirs).serve())

    thread = threading.Thread(target=serve, name="songflow sender", daemon=True)
    thread.start()
    sender = Sender(ours, None)

    def finish() -> None:
        sender.close()
        thread.join()

    atexit.register(finish)
    return sender
