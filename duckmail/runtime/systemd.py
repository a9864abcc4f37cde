"""What systemd wants to hear of a service: that it serves, reloads, ends, and is alive (sd_notify(3)).

Without systemd nobody listens, and all of it does nothing.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Protocol, Self

from duckmail.runtime.log import event

_logger = logging.getLogger("duckmail.runtime.systemd")

SERVING = "Serving"
STORE_AWAY = "Serving; the database does not answer"
RELOADING = "Reloading"
STOPPING = "Stopping"

# What is wrong with a database rarely ends by restarting us, and clients get clear answers meanwhile. Yet a fresh start
# is worth a try, should it be our end of the connection that is wrong.
PATIENCE_SECONDS = 600.0
SEND_SECONDS = 1.0


class Watched(Protocol):
    """Who has to be told regularly that this process is alive: systemd, or the parent of a worker."""

    every: float  # seconds between two signs of life; 0: nobody asks for them

    def beat(self, well: bool) -> None:
        """A sign of life. `well`: the store answers."""


class Notifier:
    """Tells systemd how this process is."""

    def __init__(self, address: str = "", every: float = 0.0) -> None:
        """`address`: of its datagram socket, a path or `@name`; empty: tell nobody. `every`: as `Watched` has it."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.every = every if address else 0.0
        self._ready = False

    @classmethod
    def take(cls, environment: MutableMapping[str, str], pid: int) -> Self:
        """From what systemd set for this process, and removes it there: no child may speak for us."""
        address = environment.pop("NOTIFY_SOCKET", "")
        patience = environment.pop("WATCHDOG_USEC", "")  # microseconds
        watched = environment.pop("WATCHDOG_PID", str(pid)) == str(pid)
        if not address.startswith(("/", "@")):  # AF_VSOCK is for whole virtual machines
            return cls()
        # sd_watchdog_enabled(3): every half of the time.
        return cls(address, int(patience) / 2_000_000 if watched and patience.isdecimal() else 0.0)

    def ready(self) -> None:
        """All listeners accept."""
        self._ready = True
        self._send("READY=1", f"STATUS={SERVING}")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """The configuration is read again inside. Before `ready` it is a part of the start."""
        if not self._ready:
            yield
            return
        # systemd tells by the time whether this answers its own request, or an earlier one.
        moment = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={moment}", f"STATUS={RELOADING}")
        try:
            yield
        finally:
            self.ready()

    def stopping(self) -> None:
        self._send("STOPPING=1", f"STATUS={STOPPING}")

    def beat(self, well: bool) -> None:
        self._send("WATCHDOG=1", f"STATUS={SERVING if well else STORE_AWAY}")

    def _send(self, *assignments: str) -> None:
        """Never raises: who cannot be told shall not end a server that works."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(SEND_SECONDS)
                sock.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            event(_logger, logging.WARNING, "systemd cannot be told", what=assignments[0], error=str(error))


async def watch(watched: Watched, ping: Callable[[], Awaitable[None]], patience: float = PATIENCE_SECONDS) -> None:
    """Gives signs of life until cancelled: while this loop turns, and until the store has been silent for `patience`
    seconds. `ping`: asks the store, and raises when it does not answer."""
    if not watched.every:
        return
    answered = due = time.monotonic()
    given_up = False
    while True:
        well = await _answers(ping, watched.every / 2)
        now = time.monotonic()
        if well:
            answered, given_up = now, False
        if now - answered < patience:
            watched.beat(well)
        elif not given_up:
            given_up = True
            event(_logger, logging.ERROR, "the database is away for too long, giving up", seconds=int(now - answered))
        due = max(due + watched.every, now)  # after a pause of the whole machine: no burst
        await asyncio.sleep(due - now)


async def _answers(ping: Callable[[], Awaitable[None]], timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            await ping()
    except Exception:  # whatever it is, it is no answer
        return False
    return True
