"""Small IMAP and LMTP clients on real sockets, which know when an answer was lost."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

WAIT = 60.0  # seconds; longer is a finding, not a lost connection
LINE = 1 << 20

_LITERAL = re.compile(rb"\{(\d+)\}\r\n$")
_NUMBERED = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)\b(.*)", re.DOTALL)
_UID = re.compile(rb"\bUID (\d+)")
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)")
_MODSEQ = re.compile(rb"\bMODSEQ \((\d+)\)")


class LostError(Exception):
    """The connection ended before the answer came: nobody knows what became of the command."""


class StuckError(AssertionError):
    """No answer for `WAIT` seconds although the connection stands."""


@dataclass(frozen=True, slots=True)
class Response:
    """One untagged response: its text without literals, and the literals."""

    text: bytes
    literals: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Answer:
    """A tagged answer: `status` is OK, NO or BAD, `text` the rest of its line."""

    status: str
    text: str
    untagged: list[Response] = field(default_factory=list)

    def code(self, name: str) -> str | None:
        """The arguments of a response code of the tagged line or of an untagged OK."""
        for text in (self.text, *(response.text.decode("latin-1") for response in self.untagged)):
            if found := re.search(rf"\[{name} ([^\]]*)\]", text):
                return found[1]
        return None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A FETCH response: what of it was there. \\Recent belongs to the session and is left out of the flags."""

    number: int
    uid: int | None
    flags: frozenset[str] | None
    modseq: int | None
    literals: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    count: int


@dataclass(frozen=True, slots=True)
class Expunged:
    number: int


def events(untagged: Sequence[Response]) -> list[Fetched | Exists | Expunged]:
    """The mailbox data among responses, in order."""
    found: list[Fetched | Exists | Expunged] = []
    for response in untagged:
        match = _NUMBERED.match(response.text)
        if match is None:
            continue
        number, rest = int(match[1]), match[3]
        if match[2] == b"EXISTS":
            found.append(Exists(number))
        elif match[2] == b"EXPUNGE":
            found.append(Expunged(number))
        else:
            uid, flags, modseq = _UID.search(rest), _FLAGS.search(rest), _MODSEQ.search(rest)
            names = None if flags is None else frozenset(flags[1].decode().lower().split()) - {"\\recent"}
            found.append(
                Fetched(
                    number,
                    int(uid[1]) if uid else None,
                    names,
                    int(modseq[1]) if modseq else None,
                    response.literals,
                )
            )
    return found


def fetched(answer: Answer) -> list[Fetched]:
    return [event for event in events(answer.untagged) if isinstance(event, Fetched)]


class Stream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self, wait: float = WAIT) -> bytes:
        """Raises: LostError, StuckError."""
        try:
            async with asyncio.timeout(wait):
                return await self.reader.readuntil(b"\n")
        except TimeoutError:
            raise StuckError(f"no answer for {wait:.0f} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise LostError(type(error).__name__) from None

    async def octets(self, count: int) -> bytes:
        try:
            async with asyncio.timeout(WAIT):
                return await self.reader.readexactly(count)
        except TimeoutError:
            raise StuckError("half an answer") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise LostError(type(error).__name__) from None

    async def send(self, data: bytes) -> None:
        try:
            self.writer.write(data)
            async with asyncio.timeout(WAIT):
                await self.writer.drain()
        except TimeoutError:
            raise StuckError("the server does not read") from None
        except OSError as error:
            raise LostError(type(error).__name__) from None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Closes the connection when what is done here with it fails."""
        try:
            yield
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Vanishes: the kernel sends a reset."""
        self.writer.transport.abort()


async def open_stream(port: int) -> Stream:
    try:
        async with asyncio.timeout(WAIT):
            return Stream(*await asyncio.open_connection("127.0.0.1", port, limit=LINE))
    except OSError as error:
        raise LostError(type(error).__name__) from None


class Imap:
    """One IMAP connection."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._tag = 0

    @classmethod
    async def connect(cls, port: int, name: str = "", password: str = "") -> "Imap":
        """Greeted, and logged in when `name` is given. Raises: LostError."""
        client = cls(await open_stream(port))
        with client.stream.kept():
            greeting = await client.stream.line()
            if not greeting.startswith(b"* OK"):
                raise LostError(greeting.decode("latin-1"))
            if name:
                answer = await client.command(f"LOGIN {name} {password}")
                if answer.status != "OK":
                    raise LostError(answer.text)
        return client

    async def response(self, wait: float = WAIT) -> Response:
        """The next response line, its literals taken out."""
        text, literals = b"", []
        while True:
            text += await self.stream.line(wait)
            announced = _LITERAL.search(text)
            if announced is None:
                return Response(text.rstrip(b"\r\n"), tuple(literals))
            literals.append(await self.stream.octets(int(announced[1])))
            text = text[: announced.start()] + b"{}"

    async def command(self, text: str, literal: bytes | None = None) -> Answer:
        """Sends a command, with `literal` at its end, and waits for its answer. Raises: LostError, StuckError."""
        self._tag += 1
        tag = f"t{self._tag}"
        if literal is None:
            await self.stream.send(f"{tag} {text}\r\n".encode())
        else:
            await self.stream.send(f"{tag} {text} {{{len(literal)}+}}\r\n".encode() + literal + b"\r\n")
        return await self.answer(tag)

    async def answer(self, tag: str) -> Answer:
        """What comes until the tagged answer."""
        untagged: list[Response] = []
        while True:
            response = await self.response()
            if response.text.startswith(tag.encode() + b" "):
                status, _, rest = response.text.decode("latin-1").partition(" ")[2].partition(" ")
                return Answer(status, rest, untagged)
            if response.text.startswith(b"* BYE"):
                raise LostError(response.text.decode("latin-1"))
            untagged.append(response)

    async def idle(self) -> None:
        """Begins IDLE; use `response` to hear, then `done`."""
        self._tag += 1
        await self.stream.send(f"t{self._tag} IDLE\r\n".encode())
        while not (await self.response()).text.startswith(b"+"):
            pass

    async def done(self) -> Answer:
        await self.stream.send(b"DONE\r\n")
        return await self.answer(f"t{self._tag}")

    def close(self) -> None:
        self.stream.abort()


@asynccontextmanager
async def imap(port: int, name: str = "", password: str = "") -> AsyncIterator[Imap]:
    client = await Imap.connect(port, name, password)
    try:
        yield client
    finally:
        client.close()


async def ok(client: Imap, text: str, literal: bytes | None = None) -> Answer:
    """A command that must succeed."""
    answer = await client.command(text, literal)
    assert answer.status == "OK", f"{text[:80]}: {answer.status} {answer.text}"
    return answer


class Lmtp:
    """One LMTP connection; replies are (code, last line)."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    @classmethod
    async def connect(cls, port: int) -> "Lmtp":
        client = cls(await open_stream(port))
        with client.stream.kept():
            code, text = await client.reply()
            if code != 220:
                raise LostError(text)
            await client.say("LHLO relay.example")
        return client

    async def reply(self) -> tuple[int, str]:
        """Raises: LostError, StuckError."""
        while True:
            line = (await self.stream.line()).decode("latin-1").rstrip()
            if line[3:4] != "-":
                if line.startswith("421"):
                    raise LostError(line)
                return int(line[:3]), line

    async def say(self, line: str) -> tuple[int, str]:
        await self.stream.send(line.encode() + b"\r\n")
        return await self.reply()

    async def deliver(self, sender: str, recipients: Sequence[str], raw: bytes) -> dict[str, tuple[int, str]]:
        """One transaction; the last reply to each recipient. Raises: LostError when any reply is missing."""
        commands = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA"]
        await self.stream.send("".join(command + "\r\n" for command in commands).encode())
        replies = [await self.reply() for _ in commands]
        outcome = dict(zip(recipients, replies[1:-1], strict=True))
        taken = [recipient for recipient in recipients if outcome[recipient][0] == 250]
        if replies[-1][0] != 354:
            if replies[0][0] != 250:  # MAIL was refused: so is everything behind it
                return dict.fromkeys(recipients, replies[0])
            await self.say("RSET")
            return outcome
        await self.stream.send(raw.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        for recipient in taken:
            outcome[recipient] = await self.reply()
        return outcome

    def close(self) -> None:
        self.stream.abort()


@asynccontextmanager
async def lmtp(port: int) -> AsyncIterator[Lmtp]:
    client = await Lmtp.connect(port)
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close()
