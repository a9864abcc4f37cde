r"""Plays dialogs: text files that say what the client sends and what the server must answer.

    # a comment; empty lines are ignored
    C: LHLO client.example          the client sends the line and CRLF; lines in a row go out in one write (pipelined)
    C+ ab\r\n.\r\n                  exactly these octets; escapes as in Python (\r \n \t \0 \\ \xff)
    C* 300000 x                     the octet (or escaped octets) so many times
    C= secret biws... ${challenge}  the last message of SCRAM: password, first message, challenge (and the channel
                                    binding), in base64; ${signed} is then what the server has to say to it
    C.                              the client sends nothing more (end of stream)
    S: 250 2.0.0 OK                 the next line is exactly this
    S: 250 2.0.0 ...                the next line begins with this
    S~ 250-SIZE (?P<limit>\d+)      the next line matches the regular expression entirely; named groups become variables
    S... 250 LAST                   lines are skipped until one begins with this
    S.                              the server closed the connection
    S-                              the server says nothing now
    ! drain                         the server is asked to drain
    C: MAIL FROM:<a@b> SIZE=${limit}    variables are put in anywhere in C and S lines

`C2:`, `S2~` and so on belong to a second connection, opened when first named. At the end nothing may be left unread.
`play(path, serve)` runs it in process, `play_over(path, port)` over TCP or TLS.
"""

import asyncio
import codecs
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from tests.support.memory import MemoryClient, MemoryConnection
from tests.support.scram_client import final_of

TIMEOUT = 40.0
_LINE = re.compile(r"(?P<who>[CS!])(?P<number>\d*)(?P<kind>\.\.\.|[:+~.*=-]?)(?: (?P<rest>.*))?", re.DOTALL)
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Client(Protocol):
    """One connection as the player needs it."""

    async def send(self, data: bytes) -> None: ...
    async def line(self, timeout: float) -> bytes: ...
    async def unread(self) -> bytes: ...
    def end(self) -> None: ...


class Mismatch(AssertionError):
    """The server said something else than the dialog."""


class Player:
    """Plays one dialog; `connect` opens connection number n, `do` carries out a `!` line on it."""

    def __init__(
        self, connect: Callable[[str], Awaitable[Client]], do: Callable[[str, str], None] | None = None
    ) -> None:
        self._connect = connect
        self._do = do
        self._clients: dict[str, Client] = {}
        self._outbox: dict[str, bytearray] = {}
        self._place = ""
        self.variables: dict[str, str] = {}

    async def run(self, path: Path) -> None:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            self._place = f"{path.name}:{number}: {line}"
            parsed = _LINE.fullmatch(line)
            if parsed is None:
                raise ValueError(f"not a dialog line: {self._place}")
            await self._step(parsed["who"], parsed["number"], parsed["kind"], parsed["rest"] or "")
        await self._flush()
        for client in self._clients.values():
            if left := await client.unread():
                raise Mismatch(f"{path.name}: left unread: {left[:500]!r}")

    async def _step(self, who: str, number: str, kind: str, rest: str) -> None:
        if who == "!":
            await self._flush()
            if self._do is None:
                raise ValueError(f"no actions here: {self._place}")
            self._do(number, rest)
            return
        client = await self._client(number)
        if who == "C":
            await self._say(number, client, kind, self._fill(rest))
        else:
            await self._flush()
            await self._expect(client, kind, rest)

    async def _client(self, number: str) -> Client:
        if number not in self._clients:
            self._clients[number] = await self._connect(number)
        return self._clients[number]

    def _fill(self, text: str, quote: Callable[[str], str] = str) -> str:
        return _VARIABLE.sub(lambda found: quote(self.variables[found[1]]), text)

    async def _say(self, number: str, client: Client, kind: str, text: str) -> None:
        outbox = self._outbox.setdefault(number, bytearray())
        if kind == ":":
            outbox += text.encode() + b"\r\n"
        elif kind == "+":
            outbox += _octets(text)
        elif kind == "*":
            count, what = text.split(" ", 1)
            outbox += _octets(what) * int(count)
        elif kind == "=":
            response, self.variables["signed"] = final_of(*text.split())
            outbox += response.encode() + b"\r\n"
        elif kind == ".":
            await self._flush()
            client.end()
        else:
            raise ValueError(f"not a dialog line: {self._place}")

    async def _flush(self) -> None:
        for number, outbox in self._outbox.items():
            if outbox:
                data = bytes(outbox)
                outbox.clear()
                await self._clients[number].send(data)

    async def _expect(self, client: Client, kind: str, text: str) -> None:
        if kind == "-":
            if said := await client.unread():
                raise Mismatch(f"{self._place}\n  but the server said {said[:500]!r}")
            return
        line = await self._line(client)
        if kind == ".":
            self._check(line == "" and await client.line(TIMEOUT) == b"", line)
        elif kind == "...":
            wanted = self._fill(text)
            while not line.startswith(wanted):
                self._check(line != "", "the end of the stream")
                line = await self._line(client)
        elif kind == "~":
            found = re.fullmatch(self._fill(text, re.escape), line)
            self._check(found is not None, line)
            self.variables.update((found and found.groupdict("")) or {})
        else:
            wanted = self._fill(text)
            same = line.startswith(wanted[:-3]) if wanted.endswith("...") else line == wanted
            self._check(same, line)

    async def _line(self, client: Client) -> str:
        try:
            line = await client.line(TIMEOUT)
        except TimeoutError:
            raise Mismatch(f"{self._place}\n  but the server said nothing for {TIMEOUT:g} s") from None
        return line.removesuffix(b"\r\n").decode("utf-8", "backslashreplace")

    def _check(self, right: bool, said: str) -> None:
        if not right:
            raise Mismatch(f"{self._place}\n  but the server said {said!r}")


class StreamClient:
    """A real connection as the player needs it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ahead = b""

    @classmethod
    async def open(cls, port: int, **options: Any) -> "StreamClient":
        """Connects to 127.0.0.1; `options` as for `asyncio.open_connection`, `ssl=` for implicit TLS."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 24, **options))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def line(self, timeout: float) -> bytes:
        async with asyncio.timeout(timeout):
            while b"\n" not in self._ahead and (more := await self._reader.read(65536)):
                self._ahead += more
        size = self._ahead.find(b"\n") + 1 or len(self._ahead)
        line, self._ahead = self._ahead[:size], self._ahead[size:]
        return line

    async def unread(self) -> bytes:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                while more := await self._reader.read(65536):
                    self._ahead += more
        return self._ahead

    def end(self) -> None:
        self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def play_over(path: Path, port: int, do: Callable[[str, str], None] | None = None, **options: Any) -> None:
    """Plays the dialog over real connections to a server on 127.0.0.1; `options` as for `StreamClient.open`."""
    clients: list[StreamClient] = []

    async def connect(number: str) -> Client:
        clients.append(await StreamClient.open(port, **options))
        return clients[-1]

    try:
        await Player(connect, do).run(Path(path))
    finally:
        for client in clients:
            await client.close()


def _octets(text: str) -> bytes:
    return codecs.escape_decode(text.encode())[0]  # type: ignore[attr-defined,no-any-return]


async def play(path: Path, serve: Callable[[Any], Awaitable[None]], **connection: Any) -> dict[str, str]:
    """Plays the dialog in process against `serve`, a protocol's session; returns the dialog's variables.

    Args:
        connection: for `MemoryConnection`, as `tls_available=True`.

    Raises:
        Mismatch: the server said something else; or it did not end within 10 s of the client's leaving.
    """
    sessions: list[asyncio.Task[None]] = []
    connections: dict[str, MemoryConnection] = {}

    async def connect(number: str) -> Client:
        opened = connections[number] = MemoryConnection(**connection)
        sessions.append(asyncio.get_running_loop().create_task(_serve(serve, opened)))
        return MemoryClient(opened)

    def do(number: str, action: str) -> None:
        if action != "drain":
            raise ValueError(f"unknown action: {action}")
        drain = connections[number].on_drain
        assert drain is not None, "the session registered no on_drain"
        drain()

    player = Player(connect, do)
    try:
        await player.run(Path(path))
        for opened in connections.values():
            opened.incoming.end()
        if sessions:
            done, pending = await asyncio.wait(sessions, timeout=TIMEOUT)
            if pending:
                raise Mismatch(f"{Path(path).name}: the session did not end with its connection")
            for task in done:
                task.result()
    finally:
        for task in sessions:
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
    return player.variables


async def _serve(serve: Callable[[Any], Awaitable[None]], connection: MemoryConnection) -> None:
    """What the listener does around a session: close when it ends."""
    try:
        await serve(connection)
    finally:
        connection.close()
