"""A plain IMAP client for tests: sends a command, gives the untagged lines; in memory, so it can be cut anywhere."""

import asyncio

from protocols.imap.settings import ImapSettings
from tests.support.imap import ImapHouse
from tests.support.memory import MemoryClient, MemoryConnection

SETTINGS = ImapSettings(plaintext_login=True)
TIMEOUT = 60.0


class Cut(Exception):
    """The connection was cut in the middle of a command, as it was to be."""


class ImapClient:
    """`lines_left`: how many more lines it reads before it vanishes; None for all."""

    def __init__(self, house: ImapHouse, settings: ImapSettings = SETTINGS) -> None:
        self.house = house
        self.connection = MemoryConnection()
        self.lines_left: int | None = None
        self._client = MemoryClient(self.connection)
        self._task = asyncio.get_running_loop().create_task(house.serve(settings)(self.connection))  # type: ignore[arg-type]
        self._tags = 0

    async def line(self) -> str:
        """One line without its end. Raises: Cut."""
        if self.lines_left is not None:
            if self.lines_left <= 0:
                raise Cut
            self.lines_left -= 1
        octets = await self._client.line(TIMEOUT)
        if not octets.endswith(b"\r\n"):
            raise AssertionError(f"the server closed the connection: {octets!r}")
        return octets[:-2].decode("latin-1")

    async def send(self, text: str) -> str:
        """Begins a command; its tag."""
        self._tags += 1
        await self._client.send(f"t{self._tags} {text}\r\n".encode("latin-1"))
        return f"t{self._tags}"

    async def send_line(self, text: str) -> None:
        """A line that is no command."""
        await self._client.send(f"{text}\r\n".encode("latin-1"))

    async def command(self, text: str) -> tuple[list[str], str]:
        """The untagged lines without `* `, and the tagged answer without its tag."""
        tag = await self.send(text)
        heard: list[str] = []
        while True:
            line = await self.line()
            if line.startswith(f"{tag} "):
                return heard, line.removeprefix(f"{tag} ")
            heard.append(line.removeprefix("* "))

    async def ok(self, text: str) -> list[str]:
        heard, answer = await self.command(text)
        assert answer.startswith("OK"), f"{text}: {answer}"
        return heard

    async def log_in(self, name: str = "anna") -> None:
        await self.line()
        await self.ok(f"LOGIN {name} secret")

    async def vanish(self) -> None:
        """The client is gone, whatever it was told; until the server has noticed."""
        self._client.end()
        self.connection.outgoing.limit = 1 << 40
        await asyncio.wait_for(asyncio.gather(self._task, return_exceptions=True), TIMEOUT)
