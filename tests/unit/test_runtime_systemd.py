"""What systemd is told, seen on a real datagram socket."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from duckmail.errors import Unavailable
from duckmail.runtime.systemd import Notifier, watch
from duckmail.runtime.tasks import Tasks
from tests.support.waiting import until

EVERY = 0.05


class Manager:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def told(self) -> list[list[str]]:
        """All messages since the last look, each as its lines."""
        found: list[list[str]] = []
        while True:
            try:
                found.append(self._sock.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def beats(self) -> int:
        return sum(lines[0] == "WATCHDOG=1" for lines in self.told())

    def close(self) -> None:
        self._sock.close()


@contextmanager
def listening(address: str) -> Iterator[Manager]:
    made = Manager(address)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with listening(str(tmp_path / "notify")) as made:
        yield made


async def answers() -> None:
    """A store that does."""


async def refuses() -> None:
    raise Unavailable


async def hangs() -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("abstract", [pytest.param(False, id="path"), pytest.param(True, id="abstract")])
def test_a_whole_life(tmp_path: Path, abstract: bool) -> None:
    address = f"@duckmail-test-{time.monotonic_ns()}" if abstract else str(tmp_path / "notify")
    with listening(address) as manager:
        notifier = Notifier.take({"NOTIFY_SOCKET": address}, 1)
        notifier.ready()
        assert manager.told() == [["READY=1", "STATUS=Serving"]]
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        with notifier.reloading():
            [[word, moment, status]] = manager.told()
            assert (word, status) == ("RELOADING=1", "STATUS=Reloading")
            assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
        assert manager.told() == [["READY=1", "STATUS=Serving"]]
        notifier.stopping()
        assert manager.told() == [["STOPPING=1", "STATUS=Stopping"]]


def test_a_reload_before_the_start_is_done_is_no_readiness(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    with notifier.reloading():
        pass
    assert manager.told() == []


def test_a_reload_that_fails_still_ends(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    notifier.ready()
    with pytest.raises(ValueError, match="wrong"), notifier.reloading():
        raise ValueError("wrong")
    assert [lines[0] for lines in manager.told()] == ["READY=1", "RELOADING=1", "READY=1"]


@pytest.mark.parametrize(
    ("environment", "every"),
    [
        pytest.param({}, 0.0, id="no-watchdog"),
        pytest.param({"WATCHDOG_USEC": "60000000"}, 30.0, id="half-the-time"),
        pytest.param({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "77"}, 30.0, id="for-us"),
        pytest.param({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "78"}, 0.0, id="for-another-process"),
        pytest.param({"WATCHDOG_USEC": "-1"}, 0.0, id="no-number"),
        pytest.param({"WATCHDOG_USEC": ""}, 0.0, id="empty"),
    ],
)
def test_what_systemd_set_is_taken_once(environment: dict[str, str], every: float) -> None:
    given = {"PATH": "/bin", "NOTIFY_SOCKET": "/nowhere", **environment}
    assert Notifier.take(given, 77).every == every
    assert given == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("", id="no-systemd"),
        pytest.param("vsock:2:1234", id="of-a-virtual-machine"),
        pytest.param("relative", id="relative"),
    ],
)
def test_nobody_to_tell(address: str, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.take({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}, 1)
    notifier.ready()
    notifier.stopping()
    assert notifier.every == 0
    assert caplog.records == []


@pytest.mark.parametrize(
    "address", [pytest.param("/nowhere/notify", id="missing"), pytest.param("/" + "x" * 200, id="too-long")]
)
def test_a_systemd_that_does_not_hear_harms_nobody(address: str, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(address).ready()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "systemd cannot be told")
    ]


def test_a_systemd_that_does_not_read_does_not_hold_us(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    """Its queue holds some hundreds; what does not fit would be waited for until somebody reads, which nobody does."""
    begun = time.monotonic()
    for _ in range(2000):
        notifier.beat(True)
        if time.monotonic() - begun > 0.9:
            break
    assert manager.beats() > 0


async def test_signs_of_life_come_while_the_store_answers(manager: Manager) -> None:
    async with Tasks("test") as tasks:
        tasks.start(watch(Notifier(manager.address, EVERY), answers), "watchdog")
        begun = time.monotonic()
        told: list[list[str]] = []
        await until(lambda: told.extend(manager.told()) or len(told) >= 4)
        took = time.monotonic() - begun
    assert len(told) <= took / EVERY + 2
    assert all(lines == ["WATCHDOG=1", "STATUS=Serving"] for lines in told)


async def test_no_sign_of_life_without_a_watchdog(manager: Manager) -> None:
    await watch(Notifier(manager.address, 0), hangs)
    assert manager.told() == []


async def test_a_loop_that_stands_still_gives_no_sign_of_life(manager: Manager) -> None:
    async with Tasks("test") as tasks:
        tasks.start(watch(Notifier(manager.address, EVERY), answers), "watchdog")
        await until(lambda: manager.beats() > 0)
        time.sleep(EVERY * 10)
        assert manager.beats() == 0
        begun, beats = time.monotonic(), 0

        def more() -> int:
            nonlocal beats
            beats += manager.beats()
            return beats

        await until(more)  # it goes on
        assert more() <= (time.monotonic() - begun) / EVERY + 2  # and makes up for nothing


@pytest.mark.parametrize("store", [pytest.param(refuses, id="refuses"), pytest.param(hangs, id="hangs")])
async def test_patience_with_a_store_that_is_away_ends(
    manager: Manager, store: object, caplog: pytest.LogCaptureFixture
) -> None:
    ping = {"now": store}

    async def ask() -> None:
        await ping["now"]()  # type: ignore[operator]

    def given_up() -> bool:
        manager.told()  # its queue is short
        return bool(caplog.records)

    async with Tasks("test") as tasks:
        tasks.start(watch(Notifier(manager.address, EVERY), ask, patience=1.0), "watchdog")
        await until(lambda: ["WATCHDOG=1", "STATUS=Serving; the database does not answer"] in manager.told())
        await until(given_up)
        manager.told()
        await asyncio.sleep(EVERY * 4)
        assert manager.told() == []
        assert [record.getMessage() for record in caplog.records] == ["the database is away for too long, giving up"]
        ping["now"] = answers  # before systemd acted: all is well again
        await until(lambda: ["WATCHDOG=1", "STATUS=Serving"] in manager.told())
