"""Letters for the SMTP client, a courier with short timeouts, and resolvers that know what the test says."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from duckmail.errors import NotFound
from duckmail.model.queue import Letter, OutboundEnvelope, QueueRecipient
from duckmail.runtime.outward import Outward
from protocols.smtp.client import SmtpCourier
from protocols.smtp.client_settings import ClientContexts, SmtpClientSettings, client_contexts

MESSAGE = b"From: a@b.example\r\nSubject: dots\r\n\r\n.\r\n..two\r\nend\r\n"


@dataclass(frozen=True)
class Pieces:
    """Content in memory, read in pieces; `before` is called before each."""

    octets: bytes
    piece: int = 256 * 1024
    before: Callable[[int], None] = lambda start: None

    @property
    def size(self) -> int:
        return len(self.octets)

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        for at in range(start, len(self.octets) if stop is None else stop, self.piece):
            self.before(at)
            yield self.octets[at : at + self.piece]


def letter(octets: bytes = MESSAGE, prefix: bytes = b"", **envelope: Any) -> Letter:
    return Letter(
        OutboundEnvelope(**{"sender": "a@b.example", **envelope}), len(prefix) + len(octets), prefix, Pieces(octets)
    )


def recipients(*addresses: str) -> list[QueueRecipient]:
    return [QueueRecipient(address) for address in addresses or ("c@d.example",)]


class Resolver:
    """Addresses by host; `error` is raised instead when given."""

    def __init__(self, hosts: Mapping[str, Sequence[str]], error: Exception | None = None) -> None:
        self._hosts = hosts
        self._error = error

    async def addresses(self, host: str) -> list[str]:
        if self._error is not None:
            raise self._error
        if host not in self._hosts:
            raise NotFound("no address")
        return list(self._hosts[host])


@lru_cache
def contexts(authorities: Path | None = None) -> ClientContexts:
    return client_contexts(authorities)


def courier(
    hosts: Mapping[str, Sequence[str]] | None = None, authorities: Path | None = None, **settings: Any
) -> SmtpCourier:
    """All hosts are allowed to be here unless `settings` say otherwise; `mx.example` is."""
    given: dict[str, Any] = {
        "outward": Outward(["127.0.0.0/8", "::1/128"]),
        "connect_timeout": 2.0,
        "tls_timeout": 2.0,
        "greeting_timeout": 2.0,
        "command_timeout": 2.0,
        "data_timeout": 2.0,
        "block_timeout": 2.0,
        "end_timeout": 2.0,
        **settings,
    }
    resolver = Resolver(hosts if hosts is not None else {"mx.example": ["127.0.0.1"]})
    return SmtpCourier(SmtpClientSettings("client.example", **given), resolver, contexts(authorities))
