"""What is found out about an incoming message before anybody gets it: who it is from, and whether it is spam.

- Each part is bounded in time, and what it cannot say in time counts as nothing: mail is neither lost nor held up.
- Nothing is refused here. Who may still refuse, the MX listener, asks what was found (`services.reception`).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from duckmail.errors import DuckmailError
from duckmail.model.dmarcreport import Evaluated, evaluated
from duckmail.model.envelope import Envelope
from duckmail.model.spam import MOST_SCORE, NOTHING, Judgement, Spam
from duckmail.runtime.log import event
from duckmail.services.mailauth.verifier import Checked, Verifier
from duckmail.services.receivedreports import ReportReader

_logger = logging.getLogger("duckmail.delivery")


class SpamFilter(Protocol):
    """What is needed of `duckmail.clients.rspamd.Rspamd`."""

    async def judge(self, envelope: Envelope, recipients: Sequence[str], raw: bytes | bytearray, /) -> Judgement:
        """Raises: Unavailable: it says nothing, or nothing in time."""
        ...


@dataclass(frozen=True, slots=True)
class Inspected:
    """`checked`: who it is from, None where nobody looked. `listed`: what lists of clients add to its spam score."""

    checked: Checked | None = None
    judgement: Judgement = NOTHING
    listed: int = 0

    @property
    def lines(self) -> bytes:
        """Header lines, to be put above the message."""
        return self.checked.lines if self.checked is not None else b""

    def judged(self, spam: Spam) -> Spam:
        """`spam`, and at least what was found here."""
        if self.checked is not None:
            spam = self.checked.judged(spam)
        found = self.judgement.spam
        score = min(max(spam.score, found.score) + self.listed, MOST_SCORE)
        return replace(spam, score=score, points=max(spam.points, found.points))


class Inspection:
    """`verifier`: None: nobody looks who mail is from. `relayed`: it looks at mail from relays too, not only at what
    comes from clients directly. `spam`: None: there is no filter. `note`: counts what came of DMARC for the domains
    that want to know; None: nobody does. `direct`: what becomes of mail from clients themselves that fails DMARC:
    `honour`, `quarantine` or `label`. `reader`: keeps the reports in mail; None: nobody does."""

    def __init__(
        self,
        verifier: Verifier | None,
        *,
        relayed: bool = True,
        spam: SpamFilter | None = None,
        note: Callable[[Evaluated], None] | None = None,
        direct: str = "honour",
        reader: ReportReader | None = None,
    ) -> None:
        self._verifier = verifier
        self._note = note
        self._direct = direct
        self._reader = reader
        self._relayed = relayed
        self._spam = spam

    async def inspect(
        self, envelope: Envelope, recipients: Sequence[str], raw: bytes | bytearray, block: bytes
    ) -> Inspected:
        """`block`: the header section of `raw`. It does not fail."""
        found = await self._inspect(envelope, recipients, raw, block)
        if self._reader is not None:
            await self._reader.look(recipients, raw, found.checked.found if found.checked is not None else None)
        return found

    async def _inspect(
        self, envelope: Envelope, recipients: Sequence[str], raw: bytes | bytearray, block: bytes
    ) -> Inspected:
        if envelope.vouched or envelope.protocol == "queue":
            # It was looked at when it came, or is of this server.
            return Inspected()
        if self._spam is None:
            return Inspected(await self._check(envelope, raw, block))
        checked, judgement = await asyncio.gather(
            self._check(envelope, raw, block), self._judge(self._spam, envelope, recipients, raw)
        )
        return Inspected(checked, judgement)

    async def _check(self, envelope: Envelope, raw: bytes | bytearray, block: bytes) -> Checked | None:
        if self._verifier is None or not (envelope.direct or self._relayed):
            return None
        checked = await self._verifier.check(envelope, raw, block)
        if self._note is not None:
            disowned = checked.found.disowned(checked.policy.sealers)
            kind = evaluated(checked.found, envelope.sender, self._done(envelope, checked, disowned), disowned)
            if kind is not None:
                self._note(kind)
        return checked

    def _done(self, envelope: Envelope, checked: Checked, disowned: str) -> str:
        """`quarantine` or `reject`, "" where nothing is done with what fails."""
        if envelope.direct and self._direct == "honour":
            return disowned
        filed = self._direct != "label" if envelope.direct else checked.policy.junk
        return "quarantine" if disowned and filed else ""

    async def _judge(
        self, spam: SpamFilter, envelope: Envelope, recipients: Sequence[str], raw: bytes | bytearray
    ) -> Judgement:
        try:
            return await spam.judge(envelope, recipients, raw)
        except DuckmailError as error:
            reason = type(error).__name__
            event(_logger, logging.WARNING, "no word of the spam filter", connection=envelope.connection, reason=reason)
            return NOTHING
