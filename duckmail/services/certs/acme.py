"""Certificates that are obtained and renewed by themselves: what is due becomes a task, one process does it."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from duckmail.errors import Cannot
from duckmail.runtime.log import event
from duckmail.runtime.sealer import Sealer
from duckmail.services.certs.authority import AuthorityAccount, AuthorityFailed, CertificateAuthority
from duckmail.services.certs.certs import OBTAIN, Certificates, told_obtained
from duckmail.services.tasks.runner import Jobs, Run
from duckmail.services.tasks.tasks import TaskList
from storage.acme import AcmeRecords, seal_context

LOOK = "acme"  # the kind of task that looks for what is due
LOOK_EVERY = timedelta(seconds=60)
MOST_AT_ONCE = 20  # names that one look makes tasks of
# Public authorities take 5 failures an hour for a name: after the first one soon again, then seldom.
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=10), timedelta(days=1)

_logger = logging.getLogger("duckmail.acme")


class Acme:
    def __init__(
        self,
        records: AcmeRecords,
        certificates: Certificates,
        authority: CertificateAuthority,
        sealer: Sealer,
        tasks: TaskList,
    ) -> None:
        self._records = records
        self._certificates = certificates
        self._authority = authority
        self._sealer = sealer
        self._tasks = tasks

    async def answer(self, token: str) -> str | None:
        """What the authority is to find for a challenge. Raises: Unavailable."""
        return await self._records.answer(token)

    def jobs(self) -> Jobs:
        return Jobs({LOOK: self.look, OBTAIN: self.obtain}, {LOOK: LOOK_EVERY})

    async def look(self, _: Run) -> Mapping[str, object]:
        """Makes a task of each certificate that is due. Raises: Unavailable."""
        names = await self._records.due(MOST_AT_ONCE)
        for name in names:
            await self._tasks.schedule(OBTAIN, {"servername": name}, key=f"{OBTAIN}:{name}")
        return {"due": len(names)}

    async def obtain(self, run: Run) -> Mapping[str, object]:
        """Raises: Cannot: it was refused, and is put off; Unavailable."""
        name = str(run.task.data["servername"])
        if not await self._records.is_due(name):
            return {}
        try:
            await self._obtain(name)
        except AuthorityFailed as error:
            failures = await self._records.failures(name)
            wait = min(FIRST_WAIT * 3 ** min(failures, 10), LONGEST_WAIT)
            await self._records.failed(name, error.text, datetime.now(UTC) + wait)
            event(_logger, logging.WARNING, "no certificate", servername=name, reason=error.text, wait=wait.seconds)
            raise Cannot(f"{name}: {error.text}") from error
        event(_logger, logging.INFO, "certificate obtained", servername=name)
        return {"servername": name}

    async def _obtain(self, name: str) -> None:
        account = await self._account()
        key = _new_key()
        try:
            order = await self._authority.order(account, name, key)
        except AuthorityFailed as error:
            if error.account_unknown:
                await self._records.forget_account(self._authority.directory, account.url)
            raise
        tokens = [token for token, _ in order.challenges]
        await self._records.publish(order.challenges)
        try:
            chain = await self._authority.complete(order)
        finally:
            await self._records.withdraw(tokens)
        chain_of = await self._certificates.sealed(name, key.decode(), [chain])
        await self._records.obtained(name, chain_of, told_obtained)
        self._certificates.changed()

    async def _account(self) -> AuthorityAccount:
        directory = self._authority.directory
        found = await self._records.account(directory)
        if found is None:
            key = _new_key()
            url = await self._authority.register(key)
            await self._records.put_account(directory, self._sealer.seal(key, seal_context(directory)), url)
            found = await self._records.account(directory)
        if found is None:
            raise AuthorityFailed("The account has just been forgotten")
        return AuthorityAccount(self._sealer.unseal(found[0], seal_context(directory)), found[1])


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
