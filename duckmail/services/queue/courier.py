"""What the queue needs from outside: somebody who hands a message to a server, and who knows which servers."""

from collections.abc import Sequence
from typing import Protocol

from duckmail.model.exchangers import Exchangers
from duckmail.model.queue import Destination, Letter, Outcome, QueueRecipient


class Courier(Protocol):
    """Hands messages to other servers."""

    async def send(
        self, destination: Destination, letter: Letter, recipients: Sequence[QueueRecipient], /
    ) -> list[Outcome]:
        """Sends `letter` in one transaction; one outcome per recipient, in order.

        Never raises for what a remote server can do. Cancelled, it leaves the connection and tells nothing.
        """
        ...


class Poster(Protocol):
    """Posts messages by HTTP."""

    async def post(self, url: str, letter: Letter, recipients: Sequence[QueueRecipient], /) -> list[Outcome]:
        """One attempt; one outcome per recipient, in order. Never raises for what a remote server can do."""
        ...


class MailExchangers(Protocol):
    """Knows the hosts that take mail for a domain."""

    async def exchangers(self, domain: str, /) -> Exchangers:
        """The hosts to try (RFC 5321 §5.1); none for a null MX (RFC 7505).

        Raises:
            NotFound: the domain does not exist, or has neither MX nor address.
            Unavailable: nobody can say now.
        """
        ...
