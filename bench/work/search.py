"""SEARCH through the full mailbox; a rate is messages looked at."""

import time

from bench.content import SUBJECT_WORD, TEXT_WORD
from bench.work.base import Outcome, Work


class _Search(Work):
    criterion: bytes

    async def prepare(self) -> None:
        self._client = await self.place.login(await self.place.full_mailbox())
        await self._client.command(b"SELECT INBOX")

    async def run(self) -> Outcome:
        latencies = []
        for _ in range(self.sizes.searches):
            begun = time.perf_counter()
            await self._client.command(b"SEARCH " + self.criterion)
            latencies.append(time.perf_counter() - begun)
        return Outcome(self.sizes.mailbox * len(latencies), latencies)

    async def finish(self) -> None:
        self._client.close()


class SearchFlag(_Search):
    name = "search-flag"
    title = "SEARCH UNDELETED FLAGGED"
    criterion = b"UNDELETED FLAGGED"


class SearchHeader(_Search):
    name = "search-header"
    title = "SEARCH SUBJECT"
    criterion = f'SUBJECT "{SUBJECT_WORD}"'.encode()


class SearchText(_Search):
    name = "search-text"
    title = "SEARCH TEXT"
    criterion = f'TEXT "{TEXT_WORD}"'.encode()
