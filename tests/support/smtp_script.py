r"""An SMTP server that plays scripts, for clients: whatever a server can do wrong is one line of text here.

    S: 250-mx.example          the server sends the line and CRLF
    S+ 250 ok\r                exactly these octets; escapes as in Python (\r \n \t \0 \\ \xff)
    S* 300000 x                the octet (or escaped octets) so many times
    C: MAIL FROM:<a@b>         the next line from the client begins with this
    C= QUIT                    the next line from the client is exactly this
    DATA                       reads the message to its final dot; its octets, as they came, go to `messages`, or to
                               `unfinished` when the client goes away within
    QUIET 0.2                  nothing comes for so many seconds
    TLS 220 go on              sends the line, and from here on TLS (the client begins)
    TLS                        TLS at once
    WAIT 0.2                   seconds
    HANG                       says nothing more until the client is gone
    CLOSE                      closes the connection: also the end of every script
    RESET                      resets it

Each connection plays the next script of the list. `problems` holds where a client did something else.
"""

import asyncio
import codecs
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence

WAIT = 40.0


class ScriptedServer:
    """`commands`: what came, per connection. `octets`: how many the server sends at once; 0 for whole lines.

    `leaves`: the client may go away within the script.
    """

    def __init__(self, scripts: Sequence[str], context: ssl.SSLContext | None, octets: int, leaves: bool) -> None:
        self.port = 0
        self.commands: list[list[str]] = []
        self.messages: list[bytes] = []
        self.unfinished: list[bytes] = []
        self.problems: list[str] = []
        self._scripts = list(scripts)
        self._context = context
        self._octets = octets
        self._leaves = leaves

    @property
    def connections(self) -> int:
        return len(self.commands)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.commands.append([])
        if number >= len(self._scripts):
            self.problems.append(f"connection {number + 1} was not expected")
        else:
            for line in filter(None, map(str.strip, self._scripts[number].splitlines())):
                try:
                    await asyncio.wait_for(self._step(line, reader, writer), WAIT)
                except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                    if isinstance(error, ValueError) or not self._leaves:
                        self.problems.append(f"{line}: {error!r}")
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _step(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word, _, rest = line.partition(" ")
        if word in {"S:", "S+", "S*"}:
            await self._say(word, rest, writer)
        elif word in {"C:", "C="}:
            said = (await reader.readuntil(b"\r\n")).decode()[:-2]
            self.commands[-1].append(said)
            if not (said == rest or (word == "C:" and said.startswith(rest))):
                raise ValueError(f"the client said {said!r}")
        elif word == "DATA":
            octets = bytearray(b"\r\n")  # of the command before: the end may follow at once
            try:
                while not octets.endswith(b"\r\n.\r\n"):
                    octets += await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                self.unfinished.append(bytes(octets[2:] + error.partial))
                raise
            self.messages.append(bytes(octets[2:]))
        elif word == "TLS":
            assert self._context is not None
            # Nothing may be read between the reply and the handshake: it would be taken for plaintext.
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            if rest:
                writer.write(rest.encode() + b"\r\n")
            await writer.start_tls(self._context)
        elif word == "WAIT":
            await asyncio.sleep(float(rest))
        elif word == "QUIET":
            with contextlib.suppress(TimeoutError):
                raise ValueError(f"the client said {await asyncio.wait_for(reader.read(100), float(rest))!r}")
        elif word == "HANG":
            await reader.read()
        elif word == "RESET":
            # Closing with no linger time makes the kernel send RST.
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif word == "CLOSE":
            writer.close()
        else:
            raise ValueError("not a line of a script")

    async def _say(self, word: str, text: str, writer: asyncio.StreamWriter) -> None:
        if word == "S:":
            octets = text.encode() + b"\r\n"
        elif word == "S+":
            octets = _octets(text)
        else:
            count, what = text.split(" ", 1)
            octets = _octets(what) * int(count)
        size = self._octets or len(octets)
        for start in range(0, len(octets), size):
            writer.write(octets[start : start + size])
            await writer.drain()
            if self._octets:
                await asyncio.sleep(0)


def _octets(text: str) -> bytes:
    return codecs.decode(text.encode("ascii"), "unicode_escape").encode("latin-1")


@contextlib.asynccontextmanager
async def scripted(
    *scripts: str, context: ssl.SSLContext | None = None, octets: int = 0, leaves: bool = False
) -> AsyncIterator[ScriptedServer]:
    """A server on a free loopback port; at the end every client must have kept to its script."""
    played = ScriptedServer(scripts, context, octets, leaves)
    running: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(played.serve(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=4 * 1024 * 1024)
    played.port = server.sockets[0].getsockname()[1]
    try:
        yield played
        if running:
            await asyncio.wait(running, timeout=WAIT)
        assert not played.problems, played.problems
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
