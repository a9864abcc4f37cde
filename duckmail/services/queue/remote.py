"""Handing a message to other servers: the relay, or the mail exchangers of a domain, one after the other."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from duckmail.errors import DuckmailError, NotFound
from duckmail.model.queue import Destination, Letter, Outcome, QueueRecipient
from duckmail.runtime.log import event
from duckmail.services.queue.courier import Courier, MailExchangers, Poster
from duckmail.services.queue.routing import Exchange, Post, Relay
from duckmail.services.queue.slots import Slots

# RFC 5321 §5.1: at least two addresses are tried; no more than this, for the sake of the others in the queue.
MOST_HOSTS = 5

_logger = logging.getLogger("duckmail.queue")


class Remote:
    """`tls`: to mail exchangers, as `outbound.tls` has it."""

    def __init__(self, courier: Courier, exchangers: MailExchangers, slots: Slots, tls: str, poster: Poster) -> None:
        self._courier = courier
        self._poster = poster
        self._exchangers = exchangers
        self._slots = slots
        self._tls = tls

    async def send(
        self, route: Relay | Exchange | Post, letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        """One outcome per recipient, in order. Raises: InUse: the host is busy, nothing was sent."""
        if isinstance(route, Relay):
            return await self._one(route.destination, letter, recipients)
        if isinstance(route, Post):
            return await self._post(route, letter, recipients)
        try:
            hosts = await self._exchangers.exchangers(route.domain)
        except NotFound as error:
            return _same(recipients, 550, "5.1.2", error.text)
        except DuckmailError as error:
            return _same(recipients, 0, "4.4.3", error.text)
        if not hosts:
            # RFC 7505 §4.1: a null MX says that the domain takes no mail.
            return _same(recipients, 556, "5.1.10", "The domain takes no mail")
        return await self._first_of(hosts[:MOST_HOSTS], letter, recipients)

    async def _first_of(
        self, hosts: Sequence[str], letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for host in hosts:
            outcomes = await self._one(Destination(host, tls=self._tls), letter, recipients)
            if not _as_a_whole(outcomes):
                break
        return outcomes

    async def _one(
        self, destination: Destination, letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        send = partial(self._courier.send, destination, letter, recipients)
        return await self._guarded(destination.host, send, recipients)

    async def _post(self, route: Post, letter: Letter, recipients: Sequence[QueueRecipient]) -> list[Outcome]:
        return await self._guarded(route.host, partial(self._poster.post, route.url, letter, recipients), recipients)

    async def _guarded(
        self, host: str, send: Callable[[], Awaitable[list[Outcome]]], recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        """In a slot of the host; whatever fails is tried again."""
        async with self._slots.take(host):
            try:
                outcomes = await send()
            except Exception:
                event(_logger, logging.ERROR, "courier failed", exc_info=True, host=host)
                outcomes = []
        missing = len(recipients) - len(outcomes)
        return [*outcomes, *_same(recipients[-missing:], 0, "4.3.0", "Temporary failure")] if missing else outcomes


def _as_a_whole(outcomes: Sequence[Outcome]) -> bool:
    """Whether the host took nothing for anybody, and another one may: no connection, a greeting of 421, and the like.

    Never when it may have the message.
    """
    return all(not (outcome.accepted or outcome.permanent or outcome.ambiguous) for outcome in outcomes)


def _same(recipients: Sequence[QueueRecipient], code: int, status: str, text: str) -> list[Outcome]:
    outcome = Outcome("", code, status, text)
    return [replace(outcome, address=recipient.address) for recipient in recipients]
