"""Keeps what listeners present in step with the certificates in the database."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Sequence

from duckmail.errors import DuckmailError
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.certs.certs import Certificates
from protocols.net.tls import TlsContexts, TlsError, memory_context
from storage.certs import Certificate

POLL_SECONDS = 2.0  # until a change made by another process is seen here
AFRESH_SECONDS = 600.0  # all are read again, should a change have been missed

log = logging.getLogger("duckmail.certificates")


def problem(chain: bytes, key: bytes) -> str:
    """Why a listener cannot present the certificate; "" when it can."""
    try:
        memory_context(chain, key)
    except TlsError:
        return "The certificate cannot be used with TLS: its key or signature is too weak, or the chain is broken"
    return ""


class Presenter:
    """`keep` as a task; `wake` it after a change."""

    def __init__(self, certificates: Certificates, tls: TlsContexts, threads: Pool) -> None:
        self._certificates = certificates
        self._tls = tls
        self._threads = threads
        self._made: dict[str, ssl.SSLContext] = {}  # by fingerprint
        self._revision: int | None = None
        self._afresh = 0.0  # monotonic
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._woken.wait()
            self._woken.clear()
            await self.refresh()

    async def refresh(self) -> None:
        """Once; what cannot be read now stays as it is."""
        try:
            revision = await self._certificates.revision()
            if revision == self._revision and time.monotonic() < self._afresh:
                return
            found = await self._certificates.presented()
        except DuckmailError as error:
            event(log, logging.WARNING, "certificates are not read", fields=error.fields)
            return
        self._tls.stored = await self._threads.run(self._contexts, found)
        if revision != self._revision:
            event(log, logging.INFO, "certificates read", certificates=len(found), names=len(self._tls.stored))
        self._revision, self._afresh = revision, time.monotonic() + AFRESH_SECONDS

    def _contexts(self, found: Sequence[Certificate]) -> dict[str, ssl.SSLContext]:
        """By name. A name's own certificate is better than one that has it among others."""
        made: dict[str, ssl.SSLContext] = {}
        names: dict[str, ssl.SSLContext] = {}
        own: dict[str, ssl.SSLContext] = {}
        for certificate in found:
            context = self._made.get(certificate.fingerprint) or self._context(certificate)
            if context is None:
                continue
            made[certificate.fingerprint] = context
            names.update(dict.fromkeys(certificate.names, context))
            own[certificate.servername] = context
        self._made = made
        return names | own

    def _context(self, certificate: Certificate) -> ssl.SSLContext | None:
        try:
            return memory_context(certificate.chain, self._certificates.opened(certificate))
        except (TlsError, DuckmailError) as error:
            event(log, logging.ERROR, "a certificate is not used", servername=certificate.servername, reason=str(error))
            return None
