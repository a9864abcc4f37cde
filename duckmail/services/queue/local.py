"""Queued mail for accounts here: the same delivery as from LMTP, once whatever happens."""

from collections.abc import Mapping, Sequence

from duckmail import errors
from duckmail.model.envelope import Envelope, Recipient
from duckmail.model.queue import Letter, Origin, Outcome, QueuedMessage, QueueRecipient
from duckmail.runtime.budget import OctetBudget
from duckmail.services.delivery import Delivery

BUDGET_SECONDS = 60.0

# As LMTP answers; an error that is not in here is temporary.
_ERRORS: Mapping[type[errors.DuckmailError], tuple[int, str]] = {
    errors.NotFound: (550, "5.1.1"),
    errors.AccountDisabled: (550, "5.2.1"),
    errors.OverQuota: (552, "5.2.2"),
    errors.TooLarge: (552, "5.3.4"),
    errors.NotPermitted: (550, "5.7.1"),
    errors.InvalidInput: (554, "5.6.0"),
}


class LocalCourier:
    """`budget`: of octets, for messages in memory."""

    def __init__(self, delivery: Delivery, budget: OctetBudget) -> None:
        self._delivery = delivery
        self._budget = budget

    async def deliver(
        self, message: QueuedMessage, letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        """One outcome per recipient, in order."""
        found = [await self._find(recipient.address, letter.size) for recipient in recipients]
        named = [recipient for recipient in found if isinstance(recipient, Recipient)]
        try:
            outcomes = iter(await self._deliver(message, letter, named) if named else [])
        except errors.DuckmailError as error:
            outcomes = iter([_failed(recipient.address, error) for recipient in named])
        return [one if isinstance(one, Outcome) else next(outcomes) for one in found]

    async def _find(self, address: str, size: int) -> Recipient | Outcome:
        try:
            return await self._delivery.recipient(address, size)
        except errors.DuckmailError as error:
            return _failed(address, error)

    async def _deliver(self, message: QueuedMessage, letter: Letter, recipients: Sequence[Recipient]) -> list[Outcome]:
        envelope = Envelope(
            sender=message.envelope.sender,
            protocol="queue",
            size=letter.size,
            body=message.envelope.body,
            smtputf8=message.envelope.smtputf8,
            requiretls=message.envelope.requiretls,
            connection=message.id,
            key=f"queue {message.id}".encode(),
            vouched=message.vouched or message.origin is not Origin.FORWARD,
        )
        async with self._budget.reserve(letter.size, BUDGET_SECONDS):
            raw = bytearray(letter.prefix)
            async for piece in letter.content.read():
                raw += piece
            verdicts = await self._delivery.deliver(envelope, raw, recipients)
        outcomes = []
        for verdict in verdicts:
            address = verdict.recipient.address
            if verdict.error is not None:
                outcomes.append(_failed(address, verdict.error))
            else:
                outcomes.append(Outcome(address, 250, "2.1.5", "Delivered"))
        return outcomes


def _failed(address: str, error: errors.DuckmailError) -> Outcome:
    for kind in type(error).__mro__:
        if kind in _ERRORS:
            code, status = _ERRORS[kind]
            return Outcome(address, code, status, error.text)
    return Outcome(address, 451, "4.3.0", error.text if error.temporary else "Temporary failure, try again later")
