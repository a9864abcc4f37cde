"""What all connections to servers elsewhere are made with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from duckmail import __version__
from duckmail.clients.dns import Dns
from duckmail.clients.http import Http
from duckmail.clients.validated import ValidatedDns
from duckmail.config.outbound import Outbound
from duckmail.errors import InvalidInput
from duckmail.runtime.outward import Outward
from protocols.net.tls import TlsError
from protocols.smtp.client_settings import ClientContexts, client_contexts

_ANYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class Outside:
    """`outward`: the rule where they may lead. `contexts`: whom TLS trusts. `named`: for servers that the administrator
    has named, wherever they are. `validated`: None where no answer of DNS is trusted."""

    outward: Outward
    dns: Dns
    contexts: ClientContexts
    http: Http
    named: Http
    validated: ValidatedDns | None


@asynccontextmanager
async def open_outside(config: Outbound) -> AsyncIterator[Outside]:
    """Raises: InvalidInput: the authorities or name servers of `config` are none."""
    try:
        contexts, dns = client_contexts(config.tls_authorities), Dns(config.nameservers)
        validated = ValidatedDns(config.nameservers) if config.dnssec == "trust-ad" else None
    except (TlsError, ValueError) as error:
        raise InvalidInput(f"outbound: {error}") from error
    outward = Outward(config.allow_networks)
    try:
        agent = f"duckmail/{__version__}"
        async with (
            Http(outward, dns, contexts.verifying, agent) as http,
            Http(Outward(_ANYWHERE), dns, contexts.verifying, agent) as named,
        ):
            yield Outside(outward, dns, contexts, http, named, validated)
    finally:
        await dns.close()
