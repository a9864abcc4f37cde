"""Handing a message to other servers: the relay, or the mail exchangers of a domain, one after the other."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from duckmail.errors import DuckmailError, NotFound, Unavailable
from duckmail.model.address import ascii_domain
from duckmail.model.queue import Destination, Letter, Outcome, QueueRecipient
from duckmail.runtime.log import event
from duckmail.services.queue.courier import Courier, MailExchangers, Poster
from duckmail.services.queue.routing import Exchange, Post, Relay
from duckmail.services.queue.slots import Slots
from duckmail.services.transport.security import Security

# RFC 5321 §5.1: at least two addresses are tried; no more than this, for the sake of the others in the queue.
MOST_HOSTS = 5

_logger = logging.getLogger("duckmail.queue")


class Remote:
    def __init__(
        self,
        courier: Courier,
        poster: Poster,
        exchangers: MailExchangers,
        slots: Slots,
        *,
        security: Security,
        hostname: str,
    ) -> None:
        """`hostname`: ours."""
        self._courier = courier
        self._poster = poster
        self._exchangers = exchangers
        self._slots = slots
        self._security = security
        self._hostname = hostname

    async def send(
        self, route: Relay | Exchange | Post, letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        """One outcome per recipient, in order. Raises: InUse: the host is busy, nothing was sent."""
        if isinstance(route, Relay):
            return await self._one(route.destination, letter, recipients)
        if isinstance(route, Post):
            return await self._post(route, letter, recipients)
        try:
            found = await self._exchangers.exchangers(route.domain)
        except NotFound as error:
            return _same(recipients, 550, "5.1.2", error.text)
        except DuckmailError as error:
            return _same(recipients, 0, "4.4.3", error.text)
        if not found.ranked:
            # RFC 7505 §4.1: a null MX says that the domain takes no mail.
            return _same(recipients, 556, "5.1.10", "The domain takes no mail")
        better = found.ahead_of(self._hostname)
        if not better.ranked:
            return _same(recipients, 554, "5.4.6", f"Mail for {route.domain} comes back to {self._hostname}")
        try:
            return await self._first_of(ascii_domain(route.domain), better.hosts[:MOST_HOSTS], letter, recipients)
        except Unavailable as error:
            return _same(recipients, 0, "4.4.3", error.text)

    async def _first_of(
        self, domain: str, hosts: Sequence[str], letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        """Raises: Unavailable: nobody can say now how to reach the domain."""
        rules = await self._security.rules(domain, hosts, letter)
        best: list[Outcome] = []
        for host in hosts:
            found = await self._security.destination(rules, host)
            if isinstance(found, Outcome):
                outcomes = _same(recipients, found.code, found.status, found.text, early=True)
            else:
                outcomes = await self._one(found, letter, recipients, domain)
            if not _as_a_whole(outcomes):
                return outcomes
            # What one host refuses for good, another that could not be reached may still take.
            if not best or any(outcome.permanent for outcome in best):
                best = outcomes
        return best

    async def _one(
        self, destination: Destination, letter: Letter, recipients: Sequence[QueueRecipient], domain: str = ""
    ) -> list[Outcome]:
        send = partial(self._courier.send, destination, letter, recipients)
        async with self._slots.take(destination.host, domain, letter.user):
            return await self._guarded(destination.host, send, recipients)

    async def _post(self, route: Post, letter: Letter, recipients: Sequence[QueueRecipient]) -> list[Outcome]:
        send = partial(self._poster.post, route.url, letter, recipients)
        async with self._slots.take(route.host, account=letter.user):
            return await self._guarded(route.host, send, recipients)

    @staticmethod
    async def _guarded(
        host: str, send: Callable[[], Awaitable[list[Outcome]]], recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        """Whatever fails is tried again."""
        try:
            outcomes = await send()
        except Exception:
            event(_logger, logging.ERROR, "courier failed", exc_info=True, host=host)
            outcomes = []
        missing = len(recipients) - len(outcomes)
        return [*outcomes, *_same(recipients[-missing:], 0, "4.3.0", "Temporary failure")] if missing else outcomes


def _as_a_whole(outcomes: Sequence[Outcome]) -> bool:
    """Whether the host took nothing for anybody, and another one may: no connection, a greeting of 554, and the like.

    Never when it may have the message.
    """
    return all(not (one.accepted or one.ambiguous or (one.permanent and not one.early)) for one in outcomes)


def _same(
    recipients: Sequence[QueueRecipient], code: int, status: str, text: str, *, early: bool = False
) -> list[Outcome]:
    outcome = Outcome("", code, status, text, early=early)
    return [replace(outcome, address=recipient.address) for recipient in recipients]
