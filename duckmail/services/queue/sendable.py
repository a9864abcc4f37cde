"""A message in the forms that other servers can take, each made and signed once; the stored one stays as it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from duckmail.mime.recode import LONGEST_LINE, Fixed, Form, longest_line, recoded
from duckmail.model.queue import CannotFit, Letter, QueuedMessage
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.dkim.signer import Signer

BUDGET_SECONDS = 60.0
LARGEST = 64 << 20  # octets of a message that is made anew: it is in memory then
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Octets:
    octets: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.octets)

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        end = self.size if stop is None else min(stop, self.size)
        for at in range(start, end, _PIECE):
            yield self.octets[at : min(at + _PIECE, end)]


class Sendable:
    """`async with` it: what is made is in memory until its end. `budget`: of octets there."""

    def __init__(
        self, message: QueuedMessage, letter: Letter, *, signer: Signer, threads: Pool, budget: OctetBudget
    ) -> None:
        self._message = message
        self._letter = letter
        self._signer = signer
        self._threads = threads
        self._budget = budget
        self._made: dict[Form, Letter] = {}
        self._one = asyncio.Lock()
        self._held = AsyncExitStack()

    async def __aenter__(self) -> "Sendable":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._held.aclose()

    async def first(self) -> Letter:
        """What every server that knows 8BITMIME and SMTPUTF8 takes.

        Raises: CannotFit; DuckmailError: it cannot be made or signed for now.
        """
        if self._message.envelope.body == "BINARYMIME" or await self._has_long_lines():
            return await self.fitting(eight_bit=True, utf8=True)
        return replace(await self._signer.letter(self._message, self._letter), fitting=self.fitting)

    async def fitting(self, *, eight_bit: bool, utf8: bool) -> Letter:
        """For a server that knows 8BITMIME and SMTPUTF8, or not. Raises: as `first`."""
        form = Form(eight_bit, utf8)
        async with self._one:
            if form not in self._made:
                self._made[form] = await self._make(form)
            return self._made[form]

    async def _make(self, form: Form) -> Letter:
        letter = self._letter
        if letter.size > LARGEST:
            raise CannotFit("5.6.3", "The message is too large to be encoded anew")
        await self._held.enter_async_context(self._budget.reserve(2 * letter.size, BUDGET_SECONDS))
        raw = bytearray(letter.prefix)
        async for piece in letter.content.read():
            raw += piece
        try:
            octets = await self._threads.run(recoded, bytes(raw), form)
        except Fixed as error:
            raise CannotFit(error.status, str(error)) from None
        body = "8BITMIME" if form.eight_bit else "7BIT"
        envelope = replace(letter.envelope, body=body, smtputf8=letter.envelope.smtputf8 and form.utf8)
        made = replace(letter, envelope=envelope, size=len(octets), prefix=b"", content=_Octets(octets))
        return replace(await self._signer.letter(self._message, made), fitting=self.fitting)

    async def _has_long_lines(self) -> bool:
        """Whether a line is longer than SMTP allows; one that goes over pieces counts whole."""
        rest = 0
        async for piece in self._letter.content.read():
            first, end, _ = piece.partition(b"\n")
            if rest + len(first) > LONGEST_LINE + 1 or longest_line(piece) > LONGEST_LINE:
                return True
            rest = len(piece) - piece.rfind(b"\n") - 1 if end else rest + len(piece)
        return longest_line(self._letter.prefix) > LONGEST_LINE
