"""One mail transaction: from MAIL to the end of the data or RSET."""

from contextlib import AsyncExitStack
from typing import Generic, TypeVar

from duckmail.errors import Unavailable
from duckmail.runtime.budget import OctetBudget
from protocols.smtp.settings import SmtpSettings
from protocols.smtp.wire.body import Collector, Fault
from protocols.smtp.wire.command import Mail
from protocols.smtp.wire.parameters import BODY_BINARYMIME

# The other side's SIZE is an estimate (RFC 1870 §6.1): line ends and header lines added later are forgiven, a lie is
# not, because what is reserved cannot grow.
_SLACK = 64 * 1024

R = TypeVar("R")


class Transaction(Generic[R]):
    """The sender, the accepted recipients, the octets so far, and their place in the octet budget."""

    def __init__(self, mail: Mail, settings: SmtpSettings) -> None:
        self.mail = mail
        self.recipients: list[R] = []
        self.chunked = False
        self.failed = False
        declared = mail.parameters.size
        self._settings = settings
        self._most = min(settings.size_limit, declared + declared // 8 + _SLACK) if declared else settings.size_limit
        # RFC 3030 §3: with BINARYMIME any octet may come, CR and LF alone included.
        self.collector = Collector(self._most, settings.refuse_bare and mail.parameters.body != BODY_BINARYMIME)
        self._stack = AsyncExitStack()
        self._reserved = False

    async def make_room(self, budget: OctetBudget) -> None:
        """Before more is read of a message that has become large: waits until the whole of it has room.

        Nothing is read meanwhile, so the other side waits too. When its turn does not come the message is refused.
        """
        if self._reserved or self.collector.held <= self._settings.free_octets:
            return
        try:
            await self._stack.enter_async_context(budget.reserve(self._most, self._settings.reserve_timeout))
            self._reserved = True
        except Unavailable:
            self.collector.refuse(Fault.NO_ROOM)

    async def aclose(self) -> None:
        """Gives the octets and their room back; may be called again."""
        self.collector.take()
        await self._stack.aclose()
