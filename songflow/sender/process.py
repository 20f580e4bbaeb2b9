"""The sender itself: sends each request once, writes its outcome to the spool, and only then answers.

It runs in a session of its own, ignores the signals that end the process beside it, and lives until that process has
gone: then it begins nothing new, finishes what is under way, commits to the ledger what nobody has committed, and ends.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from songflow.gateways.account import Account
from songflow.gateways.callback import Callback
from songflow.gateways.client import Gateway
from songflow.gateways.dialects import DIALECTS, stored_dialect
from songflow.gateways.submit import NotSent, Outcome, Unknown
from songflow.ledger.lease import this_process
from songflow.ledger.spool import Spool, SpoolEntry
from songflow.runtime.failpoints import reached
from songflow.sender.orders import Order, awake_clock, frame, frames, packed, spooled

if TYPE_CHECKING:
    from songflow.ledger.submissions import Submissions

__all__ = ["Desk", "main"]

_READ_BYTES = 65536
# Without its asker, and with neither spool nor ledger to be written: how often and how long it tries.
_LAST_TRIES, _LAST_PAUSE_SECONDS = 120, 5.0


def main(descriptor: int) -> None:
    """Serve one asking process over an inherited socket; called in a new interpreter."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _keep_memory_private()
    # Its command line would import rich and click, which takes longer than all the rest.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    importlib.import_module("httpx")
    asyncio.run(Desk(socket.socket(fileno=descriptor), os.getppid()).serve())


def _keep_memory_private() -> None:
    """No core dump, and no debugger of the same user: the memory holds a gateway's key."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):
            import ctypes

            set_dumpable = 4
            ctypes.CDLL(None).prctl(set_dumpable, 0, 0, 0, 0)


class _Key:
    """A gateway's key as an account wants it, without an import of pydantic."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def get_secret_value(self) -> str:
        return self._secret


@dataclass
class _Work:
    """A request from its order until somebody has committed its outcome."""

    order: Order
    entry: SpoolEntry | None = None
    is_spooled: bool = False
    stopped: bool = False
    left: bool = False


class Desk:
    """Takes orders from one asking process over a socket.

    Args:
        connection: The sender's end of the socket.
        asker: The process that holds the other end; its death ends the orders even if a fork holds the socket open.
            None: this very process.
    """

    def __init__(self, connection: socket.socket, asker: int | None = None) -> None:
        self._connection = connection
        self._asker = asker
        self._alone = False
        self._works: dict[str, _Work] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._gateways: dict[tuple[str, str, str, str | None, float, Callback | None], Gateway] = {}
        self._spools: dict[str, Spool] = {}
        self._exits = AsyncExitStack()
        self._committing = asyncio.Lock()
        self._writer: asyncio.StreamWriter

    async def serve(self) -> None:
        """Work until the asking process is gone and everything is finished."""
        async with self._exits:
            reader, self._writer = await asyncio.open_connection(sock=self._connection)
            self._tell({"ready": asdict(this_process()), "gateways": list(DIALECTS.ours)})
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._listen(reader)
            self._alone = True
            for work in list(self._works.values()):
                if work.entry is None:
                    self._start(self._note(work))
            while self._running:
                await asyncio.wait(self._running)
            for work in list(self._works.values()):
                await self._commit(work)
            self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Take orders until the socket ends or the asking process has died."""
        task = asyncio.ensure_future(self._take_orders(reader))
        with _at_death_of(self._asker, task.cancel):
            await task

    async def _take_orders(self, reader: asyncio.StreamReader) -> None:
        received = bytearray()
        while chunk := await reader.read(_READ_BYTES):
            received += chunk
            for message in frames(received):
                self._do(message)

    def _do(self, message: dict[str, Any]) -> None:
        work = self._works.get(message.get("id", ""))
        match message["do"]:
            case "post":
                order = Order.unpacked(message["order"])
                work = self._works[order.id] = _Work(order)
                self._start(self._send(work))
            case "settled":
                self._works.pop(message["id"], None)
            case "leave" if work is not None:
                work.left = True
                self._start(self._note(work) if work.entry is None else self._commit(work))
            case "stop":
                for one in self._works.values():
                    one.stopped = True

    def _start(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _send(self, work: _Work) -> None:
        """Send, write the outcome to the spool, and then answer."""
        order = work.order
        outcome: Outcome
        problem = None
        try:
            gateway, body = await self._gateway(order), json.loads(order.body)
        except Exception as error:
            outcome = NotSent(f"the gateway's client could not be opened ({type(error).__name__})")
        else:
            reached("post: before request")
            try:
                outcome = await gateway.submit(order.family, body, why_not=lambda: self._why_not(work))
            except Exception as error:
                problem = type(error).__name__
                outcome = Unknown(f"our own client failed ({problem})", None)
            reached("post: after request")
        work.entry = spooled(order.entry, outcome)
        answer = {"id": order.id, "outcome": packed(outcome), "failed": problem, "spool": self._spool(work)}
        self._tell(answer)
        if self._alone or work.left:
            await self._commit(work)

    def _why_not(self, work: _Work) -> str | None:
        """The last check before a request's first byte: much may have happened while its connection was made."""
        if self._alone:
            return "the process that asked for it ended before the request could be sent"
        if work.stopped:
            return "this process was told to end before the request could be sent"
        if awake_clock() >= work.order.send_before:
            return "the lease ran out before the request could be sent"
        return None

    def _spool(self, work: _Work) -> str | None:
        """Append the outcome to the spool; what went wrong, or None."""
        assert work.entry is not None
        folder = work.order.folder
        try:
            # In this thread: the answer may not leave before it, and a process that ends has no other threads.
            self._spools.setdefault(folder, Spool(Path(folder) / "spool")).append(work.entry)
        except OSError as error:
            return str(error)
        work.is_spooled = True
        return None

    async def _commit(self, work: _Work) -> None:
        """Commit the outcome to the ledger in the place of the process that asked, if the ledger can be written."""
        async with self._committing:
            if self._works.pop(work.order.id, None) is None:
                return
            tries = 0
            while not await self._committed(work):
                if work.is_spooled or self._spool(work) is None or tries == _LAST_TRIES:
                    return
                tries += 1
                await asyncio.sleep(_LAST_PAUSE_SECONDS)

    async def _note(self, work: _Work) -> None:
        """Tell the ledger that nobody but this sender works on a request: the same body is not paid for beside it."""
        fence = work.order.entry.fence or ""
        async with self._committing:
            if work.entry is None:
                await self._in_ledger(work, lambda known: known.leave_to_sender(work.order.id, fence))

    async def _committed(self, work: _Work) -> bool:
        entry = work.entry
        assert entry is not None

        async def adopt(known: Submissions) -> bool:
            from songflow.ledger.adoption import adopt_entry

            return await adopt_entry(known, entry, release=True)

        return await self._in_ledger(work, adopt)

    async def _in_ledger(self, work: _Work, write: Callable[[Submissions], Awaitable[object]]) -> bool:
        """Run one transaction; False if the ledger cannot be written."""
        try:
            # Only now: SQLAlchemy takes more time and memory than everything else together.
            from songflow.ledger.engine import ledger_url
            from songflow.ledger.ledger import Ledger
            from songflow.runtime.retry import persist

            async with Ledger(ledger_url(work.order.ledger_url, Path(work.order.folder))) as ledger:
                await persist(lambda: write(ledger.submissions))
        except Exception:  # whatever it is, the spool has the outcome
            return False
        return True

    async def _gateway(self, order: Order) -> Gateway:
        stored = order.dialect
        callback = None if order.callback is None else Callback(*order.callback)
        name = (order.entry.gateway, stored, order.url, order.secret, order.timeout, callback)
        if name not in self._gateways:
            dialect = stored_dialect(order.entry.gateway, stored)
            if dialect is None:
                raise LookupError(order.entry.gateway)
            key: Any = None if order.secret is None else _Key(order.secret)
            account = Account(dialect, order.url, key=key, callback=callback)
            gateway = Gateway(account, total_timeout=order.timeout)
            self._gateways[name] = await self._exits.enter_async_context(gateway)
        return self._gateways[name]

    def _tell(self, message: dict[str, Any]) -> None:
        if not self._alone:
            self._writer.write(frame(message))


@contextmanager
def _at_death_of(pid: int | None, act: Callable[[], object]) -> Iterator[None]:
    """Call `act` when a parent process dies, where the system can tell (Linux 5.3)."""
    if pid is None or not hasattr(os, "pidfd_open"):
        yield
        return
    loop, descriptor = asyncio.get_running_loop(), None
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        loop.add_reader(descriptor, act)
    if os.getppid() != pid:  # it died before, and its number may be another's
        act()
    try:
        yield
    finally:
        if descriptor is not None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
