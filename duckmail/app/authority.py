"""The authority for certificates, loaded when something is asked of it.

Its client brings an HTTP client and half of a cryptographic library of their own: 0.2 s of every start, for the few
processes that ever obtain a certificate.
"""

import asyncio
from collections.abc import Callable

from duckmail import __version__
from duckmail.config.schema import Acme
from duckmail.runtime.threads import Pool
from duckmail.services.certs.authority import AuthorityAccount, CertificateAuthority, Order


class LateAuthority:
    """An `AcmeAuthority` by the configuration. `threads`: in which it asks."""

    def __init__(self, config: Acme, threads: Pool) -> None:
        self._config = config
        self._threads = threads
        self._loading = asyncio.Lock()
        self._loaded: CertificateAuthority | None = None

    @property
    def directory(self) -> str:
        return self._config.directory

    async def register(self, key: bytes) -> str:
        return await (await self._authority()).register(key)

    async def order(self, account: AuthorityAccount, servername: str, key: bytes) -> Order:
        return await (await self._authority()).order(account, servername, key)

    async def complete(self, order: Order) -> str:
        return await (await self._authority()).complete(order)

    async def _authority(self) -> CertificateAuthority:
        async with self._loading:
            if self._loaded is None:
                make = await asyncio.to_thread(_load)
                self._loaded = make(self._config, self._threads)
            return self._loaded


def _load() -> Callable[[Acme, Pool], CertificateAuthority]:
    from duckmail.clients.acme import AcmeAuthority  # noqa: PLC0415  (see above)

    def make(config: Acme, threads: Pool) -> CertificateAuthority:
        agent = f"duckmail/{__version__}"
        return AcmeAuthority(config.directory, config.contact, config.authorities, agent, threads)

    return make
