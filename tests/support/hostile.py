"""The whole server on loopback, and clients that say what no honest client says."""

import asyncio
import gc
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pymongo
from aiohttp import ClientSession

from duckmail.app.ground import Databases
from duckmail.app.listeners import API, IMAP, LMTP, open_listeners
from duckmail.app.server import Server
from duckmail.app.services import Services, open_services
from duckmail.config.schema import Config
from duckmail.runtime.tasks import Tasks
from duckmail.services.access import SYSTEM
from duckmail.services.users import NewUser
from tests.support.net import client_context, make_certificate

HOST = "127.0.0.1"
DOMAIN = "mail.test"
TOKEN = "a-static-token"
SECONDS = 30.0  # for anything that is expected to come
PASSWORD = "secret"


class Wire:
    """One connection, by lines. What the server says is bounded by the test's patience only."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, **options: Any) -> Self:
        return cls(*await asyncio.open_connection(HOST, port, limit=1 << 26, **options))

    async def send(self, data: bytes) -> None:
        """In pieces: a client that writes 20 MB at once would hold the loop that it shares with the server."""
        for start in range(0, len(data), 1 << 16):
            self.writer.write(data[start : start + (1 << 16)])
            await self.writer.drain()

    async def line(self, seconds: float = SECONDS) -> bytes:
        """Without its CRLF. Raises EOFError: the server has closed the connection."""
        async with asyncio.timeout(seconds):
            try:
                found = await self.reader.readline()
            except ConnectionError:
                found = b""
        if not found:
            raise EOFError
        return found.removesuffix(b"\r\n")

    async def rest(self, seconds: float = SECONDS) -> bytes:
        """All until the server closes."""
        found = b""
        async with asyncio.timeout(seconds):
            with suppress(ConnectionError):
                while data := await self.reader.read(1 << 16):
                    found += data
        return found

    async def start_tls(self) -> None:
        """The handshake, as a client that has read the server's word."""
        await self.writer.start_tls(client_context(), server_hostname=DOMAIN)

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class Imap(Wire):
    """`tags` counts up by itself: an answer to what was never sent as a command shows."""

    tags = 0

    async def greeting(self) -> bytes:
        return await self.line()

    async def login(self, name: str = "anna") -> None:
        assert (await self.command(f"LOGIN {name}@{DOMAIN} {PASSWORD}")).startswith("OK")

    async def command(self, text: str | bytes, seconds: float = 60.0) -> str:
        """The tagged answer without its tag."""
        return (await self.answers(text, seconds))[-1]

    async def answers(self, text: str | bytes, seconds: float = 60.0) -> list[str]:
        """Every line up to the tagged answer, the last without its tag."""
        self.tags += 1
        tag = f"t{self.tags}"
        octets = text.encode("latin-1") if isinstance(text, str) else text
        await self.send(tag.encode() + b" " + octets + b"\r\n")
        return await self.until(tag, seconds)

    async def until(self, tag: str, seconds: float = 60.0) -> list[str]:
        said: list[str] = []
        while True:
            line = (await self.line(seconds)).decode("latin-1")
            if line.startswith(f"{tag} "):
                return [*said, line.removeprefix(f"{tag} ")]
            said.append(line)
            if len(said) % 50 == 0:
                await asyncio.sleep(0)  # what has come already is read without waiting: others have their turn


class Lmtp(Wire):
    async def reply(self) -> str:
        """The last line of the next reply."""
        while (line := (await self.line()).decode("latin-1"))[3:4] == "-":
            pass
        return line

    async def ask(self, line: str | bytes) -> str:
        await self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def deliver(self, message: bytes, recipient: str) -> str:
        """The reply behind the final dot; `message` without its last line end."""
        for line in ("MAIL FROM:<a@example.org>", f"RCPT TO:<{recipient}>"):
            answer = await self.ask(line)
            assert answer.startswith("250"), answer
        assert (await self.ask("DATA")).startswith("354")
        await self.send(message.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n")
        return await self.reply()


@dataclass
class House:
    """A running server: its ports, and what is behind it. `errors`: what it has logged that nobody expected."""

    services: Services
    server: Server
    ports: dict[str, int]
    errors: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def imap(self, name: str = "", *, preamble: bytes = b"") -> AsyncIterator[Imap]:
        """A session that was greeted, and logged in if there is a `name`. `preamble`: octets before all others."""
        client = await Imap.open(self.ports[IMAP])
        try:
            await client.send(preamble)
            assert (await client.greeting()).startswith(b"* OK")
            if name:
                await client.login(name)
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def lmtp(self, *, preamble: bytes = b"") -> AsyncIterator[Lmtp]:
        """A session that has said LHLO."""
        client = await Lmtp.open(self.ports[LMTP])
        try:
            await client.send(preamble)
            assert (await client.reply()).startswith("220")
            assert (await client.ask("LHLO relay.test")).startswith("250")
            yield client
        finally:
            await client.close()

    @property
    def connections(self) -> int:
        """Those that are counted now."""
        return self.server._limits.connections

    def proxied(self, host: str = "192.0.2.7") -> bytes:
        """The header of a client at `host`, where a proxy must say who connects."""
        return f"PROXY TCP4 {host} 192.0.2.1 40000 143\r\n".encode()

    async def connect(self) -> Imap:
        """An IMAP connection on which nothing was said."""
        return await Imap.open(self.ports[IMAP])

    def client(self) -> ClientSession:
        """Of the API, with the token that may do everything."""
        return ClientSession(f"http://{HOST}:{self.ports[API]}", headers={"X-Access-Token": TOKEN})

    async def api(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Status and text of one request."""
        async with self.client() as client, client.request(method, path, **options) as response:
            return response.status, await response.text()

    async def add_user(self, name: str) -> None:
        await self.services.users.create(NewUser(username=name, password=PASSWORD), SYSTEM)


class _Errors(logging.Handler):
    """Keeps what is logged as an error: an exception that nobody expected is one (H1)."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        reason = record.exc_info[1] if record.exc_info else ""
        self._errors.append(f"{record.name}: {record.getMessage()}: {reason!r}")


@asynccontextmanager
async def running(
    mongo_uri: str, redis_url: str, folder: Path, sections: dict[str, dict[str, object]], users: Sequence[str] = ()
) -> AsyncIterator[House]:
    """The server as `duckmail serve` builds it, but in this process, on ports that the kernel chose."""
    name = f"t_hostile_{uuid.uuid4().hex[:8]}"
    free = {"listen": (f"{HOST}:0",)}
    given: dict[str, dict[str, object]] = {
        "server": {"hostname": DOMAIN, "drain_timeout": 2.0},
        "mongo": {"database": name},
        "redis": {"prefix": f"{name}:"},
        "imap": {**free, "listen_tls": (f"{HOST}:0",), "plaintext_login": True},
        "pop3": {**free, "listen_tls": (), "plaintext_login": True},
        "submission": {**free, "listen_tls": (), "plaintext_login": True},
        "metrics": {"enabled": False},
        "lmtp": {**free, "starttls": True},
        "api": free,
    }
    for section, values in sections.items():
        given.setdefault(section, {}).update(values)
    config = Config.model_validate(given)
    certificate = make_certificate(folder, DOMAIN)
    errors: list[str] = []
    handler = _Errors(errors)
    logging.getLogger("duckmail").addHandler(handler)
    try:
        async with open_services(config, Databases(mongo_uri, redis_url), name) as services:
            server = Server(services, (certificate.certificate, certificate.key), TOKEN)
            opened = open_listeners(config)
            ports = {one.label: int(one.sockets[0].address.rpartition(":")[2]) for one in opened}
            await server.start(opened)
            house = House(services, server, ports, errors)
            for user in users:
                await house.add_user(user)
            gc.collect()
            gc.freeze()  # as `duckmail serve` does: a full collection of all that pytest has loaded takes 80 ms
            try:
                yield house
            finally:
                gc.unfreeze()
                await server.drain()
    finally:
        logging.getLogger("duckmail").removeHandler(handler)
        with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
            client.drop_database(name)


@dataclass
class Watch:
    """What others felt. `wait`: seconds that another user's NOOP took at most. `hold`: seconds of processor time that
    the loop's thread spent at most without a turn for others, whatever else the machine is doing."""

    wait: float = 0.0
    hold: float = 0.0
    took: float = 0.0


async def watched(house: House, work: Callable[[], Coroutine[Any, Any, object]]) -> Watch:
    """Runs `work` while another user asks NOOP after NOOP."""
    found = Watch()

    async def ask() -> None:
        async with house.imap("bert") as other:
            while True:
                due = time.monotonic() + 0.002
                await asyncio.sleep(0.002)
                await other.command("NOOP")
                found.wait = max(found.wait, time.monotonic() - due)

    async def beat() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            found.hold = max(found.hold, time.thread_time() - before)

    async with Tasks("watch") as tasks:
        tasks.start(ask(), "ask")
        tasks.start(beat(), "beat")
        await asyncio.sleep(0.05)  # bert is logged in
        found.wait = found.hold = 0.0
        begun = time.monotonic()
        await work()
        found.took = time.monotonic() - begun
    return found


async def cost(work: Callable[[], Coroutine[Any, Any, object]], runs: int = 2) -> float:
    """Seconds of processor time of this process, all threads: the least of some runs."""
    least = float("inf")
    for _ in range(runs):
        begun = time.process_time()
        await work()
        least = min(least, time.process_time() - begun)
    return least
