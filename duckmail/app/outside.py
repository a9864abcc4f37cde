"""What all connections to servers elsewhere are made with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from duckmail import __version__
from duckmail.clients.dns import Dns
from duckmail.clients.http import Http
from duckmail.config.schema import Outbound
from duckmail.errors import InvalidInput
from duckmail.runtime.outward import Outward
from protocols.net.tls import TlsError
from protocols.smtp.client_settings import ClientContexts, client_contexts


@dataclass(frozen=True, slots=True)
class Outside:
    """`outward`: the rule where they may lead. `contexts`: whom TLS trusts."""

    outward: Outward
    dns: Dns
    contexts: ClientContexts
    http: Http


@asynccontextmanager
async def open_outside(config: Outbound) -> AsyncIterator[Outside]:
    """Raises: InvalidInput: the authorities or name servers of `config` are none."""
    try:
        contexts, dns = client_contexts(config.tls_authorities), Dns(config.nameservers)
    except (TlsError, ValueError) as error:
        raise InvalidInput(f"outbound: {error}") from error
    outward = Outward(config.allow_networks)
    try:
        async with Http(outward, dns, contexts.verifying, f"duckmail/{__version__}") as http:
            yield Outside(outward, dns, contexts, http)
    finally:
        await dns.close()
