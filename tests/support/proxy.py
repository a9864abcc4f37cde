"""A wire between the driver and mongod that loses what it is told to lose, or stands still."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from storage.embedded.folders import make_socket_folder


class Loss(Enum):
    REQUEST = auto()  # it never arrives
    ANSWER = auto()  # it is carried out, and nobody hears of it


class Proxy:
    """`uri`: for the client. After each loss the connection is cut, as a broken network does."""

    def __init__(self, mongo_uri: str, folder: Path) -> None:
        self._upstream = unquote(urlsplit(mongo_uri).netloc)
        self._listen = folder / "proxy.sock"
        self.uri = f"mongodb://{quote(str(self._listen), safe='')}/?directConnection=true"
        self._losses: list[tuple[bytes, Loss]] = []
        self.lost: list[str] = []
        self.moving = asyncio.Event()  # cleared: nothing passes in either direction
        self.moving.set()
        self._connections: set[asyncio.StreamWriter] = set()

    def lose(self, command: str, loss: Loss, times: int = 1) -> None:
        """The next `times` requests that are, or begin with, this command."""
        self._losses += [(command.encode(), loss)] * times

    def lose_nothing_more(self) -> None:
        self._losses.clear()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_unix_server(self._serve, self._listen)
        try:
            yield self
        finally:
            server.close()
            self.moving.set()
            for writer in self._connections:
                writer.close()

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_unix_connection(self._upstream)
        self._connections |= {answer, writer}
        deaf = asyncio.Event()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._requests(client, writer, answer, deaf))
                tasks.create_task(self._answers(reader, answer, deaf))
        for one in (answer, writer):
            self._connections.discard(one)
            one.close()

    async def _requests(
        self,
        client: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: asyncio.StreamWriter,
        deaf: asyncio.Event,
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                message = await _message(client)
                await self.moving.wait()
                loss = self._loss(message)
                if loss is Loss.REQUEST:
                    break
                if loss is Loss.ANSWER:
                    deaf.set()
                writer.write(message)
        answer.close()
        if not deaf.is_set():
            writer.close()

    async def _answers(self, reader: asyncio.StreamReader, answer: asyncio.StreamWriter, deaf: asyncio.Event) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while not deaf.is_set():
                message = await _message(reader)
                await self.moving.wait()
                if deaf.is_set():
                    break
                answer.write(message)
        answer.close()

    def _loss(self, message: bytes) -> Loss | None:
        for index, (command, loss) in enumerate(self._losses):
            # OP_MSG: header of 16 octets, 4 of flags, 1 of kind, 4 of length; then the first element: type, name, NUL.
            if message[26 : 27 + len(command)] == command + b"\0":
                del self._losses[index]
                self.lost.append(f"{command.decode()} {loss.name}")
                return loss
        return None


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("<i", head)[0] - 4)


@asynccontextmanager
async def proxy(mongo_uri: str, data: Path) -> AsyncIterator[Proxy]:
    """`data`: a folder of the test's own."""
    async with Proxy(mongo_uri, make_socket_folder(data)).running() as running:
        yield running
