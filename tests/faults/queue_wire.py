"""Small submission and POP3 clients on real sockets, which know when an answer was lost."""

import base64
from collections.abc import Callable, Sequence

from tests.faults.wire import Lmtp, LostError, Stream, open_stream

ACCEPTED, UNANSWERED = 250, 0


class Smtp(Lmtp):
    """One submission connection, logged in."""

    @classmethod
    async def log_in(cls, port: int, name: str, password: str) -> "Smtp":
        """Raises: LostError."""
        client = cls(await open_stream(port))
        with client.stream.kept():
            code, text = await client.reply()
            if code != 220:
                raise LostError(text)
            await client.say("EHLO client.example")
            response = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
            code, text = await client.say(f"AUTH PLAIN {response}")
            if code != 235:
                raise LostError(text)
        return client

    async def submit(
        self, mail: str, recipients: Sequence[str], raw: bytes, sent: Callable[[], None]
    ) -> tuple[int, str]:
        """One transaction; its last reply. `mail`, `recipients`: the arguments behind `FROM:` and `TO:`. `sent` is
        called when only the end of the data is left to send.

        Raises: LostError.
        """
        commands = [f"MAIL FROM:{mail}", *(f"RCPT TO:{recipient}" for recipient in recipients), "DATA"]
        await self.stream.send("".join(command + "\r\n" for command in commands).encode())
        replies = [await self.reply() for _ in commands]
        refused = [answer for answer in replies[:-1] if answer[0] != ACCEPTED]
        if replies[-1][0] == 354 and not refused:
            await self.stream.send(raw.replace(b"\r\n.", b"\r\n.."))
            sent()
            await self.stream.send(b".\r\n")
            return await self.reply()
        if replies[-1][0] == 354:  # only for some of the recipients: this client wants all or none
            raise LostError(refused[0][1])
        await self.say("RSET")
        return refused[0] if refused else replies[-1]


class Pop3:
    """One POP3 connection; an answer is (whether +OK, the rest of the line)."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    @classmethod
    async def connect(cls, port: int) -> "Pop3":
        client = cls(await open_stream(port))
        with client.stream.kept():
            await client.answer()
        return client

    async def answer(self) -> tuple[bool, str]:
        """Raises: LostError, StuckError."""
        line = (await self.stream.line()).decode("latin-1").rstrip()
        return line.startswith("+OK"), line

    async def say(self, line: str) -> tuple[bool, str]:
        await self.stream.send(line.encode() + b"\r\n")
        return await self.answer()

    async def ask(self, line: str) -> bytes:
        """The lines behind +OK. Raises: LostError, also for -ERR."""
        good, text = await self.say(line)
        if not good:
            raise LostError(text)
        lines: list[bytes] = []
        while (row := await self.stream.line()) != b".\r\n":
            lines.append(row.removeprefix(b"."))
        return b"".join(lines)

    def close(self) -> None:
        self.stream.abort()
