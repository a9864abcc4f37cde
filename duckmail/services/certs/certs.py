"""Certificates as they are managed; only the server's roles do that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from duckmail.errors import InvalidInput, NotFound
from duckmail.model.account import Principal
from duckmail.model.events import Event, of
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.threads import Pool
from duckmail.services.access import require_server
from duckmail.services.certs.chain import Chain, is_server_name, read_chain
from duckmail.services.tasks.tasks import TaskList
from storage.certs import Certificate, CertificateRecords, CertificateSlice, Changed, NewChain, seal_context

OBTAIN = "certificate"  # the kind of task that gets one by ACME
MOST_LOADED = 10_000  # certificates that a process presents

# What is wrong with a chain and its key for a listener; "" when nothing is.
Usable = Callable[[bytes, bytes], str]


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """`private_key`, `certificates`: PEM, both or none; none keeps what there is."""

    servername: str
    description: str = ""
    acme: bool = False
    private_key: str = field(default="", repr=False)
    certificates: Sequence[str] = ()


def _nothing() -> None:
    pass


class Certificates:
    """`usable`: tries a chain out."""

    def __init__(
        self, records: CertificateRecords, sealer: Sealer, threads: Pool, usable: Usable, tasks: TaskList
    ) -> None:
        self._records = records
        self._sealer = sealer
        self._threads = threads
        self._usable = usable
        self._tasks = tasks
        self.changed: Callable[[], None] = _nothing  # called when there is a change made here

    async def put(self, new: NewCertificate, by: Principal) -> Certificate:
        """Makes or changes the one of a name.

        Raises: InvalidInput: not usable, or nothing to present and ACME is not to get it. NotPermitted, Unavailable.
        """
        require_server(by)
        name = new.servername.lower()
        if not is_server_name(name):
            raise InvalidInput("Not a server name")
        if new.acme and name.startswith("*."):
            # RFC 8555 §7.1.3: wildcards are proved by DNS alone.
            raise InvalidInput("A certificate for a wildcard cannot be had by HTTP")
        chain: NewChain | None = None
        if new.private_key or new.certificates:
            chain = await self.sealed(name, new.private_key, new.certificates)
        elif not new.acme:
            raise InvalidInput("Private key and certificate are needed")
        found = await self._records.put(name, new.description, new.acme, chain, _told_put)
        self.changed()
        if new.acme:
            await self._tasks.schedule(OBTAIN, {"servername": name}, key=f"{OBTAIN}:{name}")
        return found

    async def sealed(self, servername: str, private_key: str, certificates: Sequence[str]) -> NewChain:
        """Checked, and ready to be stored. Raises: InvalidInput."""
        chain = await self._threads.run(self._read, servername, private_key, certificates)
        sealed = self._sealer.seal(chain.key, seal_context(chain.fingerprint))
        return NewChain(chain.names, chain.fingerprint, chain.expires, chain.renew, chain.certificates, sealed)

    def _read(self, servername: str, private_key: str, certificates: Sequence[str]) -> Chain:
        chain = read_chain(private_key, certificates, servername)
        problem = self._usable(chain.certificates, chain.key)
        if problem:
            raise InvalidInput(problem)
        return chain

    async def list(
        self, text: str, limit: int, by: Principal, after: str = "", before: str = "", *, alt_names: bool = False
    ) -> CertificateSlice:
        """By server name. Raises: NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.list(text.lower(), limit, after, before, alt_names=alt_names)

    async def get(self, identifier: str, by: Principal) -> Certificate:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        found = await self._records.get(identifier)
        if found is None:
            raise NotFound("Invalid or unknown certificate")
        return found

    async def resolve(self, servername: str, by: Principal) -> Certificate:
        """By its name. Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        found = await self._records.by_name(servername.lower())
        if found is None:
            raise NotFound("This servername does not exist")
        return found

    async def delete(self, identifier: str, by: Principal) -> None:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        found = await self.get(identifier, by)
        if not await self._records.delete(identifier, _told("deleted", found)):
            raise NotFound("Invalid or unknown certificate")
        self.changed()

    # -- for listeners ---------------------------------------------------------------------------------------------

    async def revision(self) -> int:
        """Another one after each change, in whatever process. Raises: Unavailable."""
        return await self._records.revision()

    async def presented(self) -> Sequence[Certificate]:
        """All that have one, with the latest to expire last.

        Raises: Unavailable.
        """
        found = await self._records.loadable(MOST_LOADED)
        return sorted(found, key=lambda one: one.expires.timestamp() if one.expires else 0.0)

    def opened(self, certificate: Certificate) -> bytes:
        """Its key, PEM. Raises: Unavailable."""
        return self._sealer.unseal(certificate.sealed, seal_context(certificate.fingerprint))


def _told_put(changed: Changed) -> Sequence[Event]:
    before, after = changed
    return _told("created" if before is None else "updated", after)


def told_obtained(changed: Changed) -> Sequence[Event]:
    """What is told of one that ACME got."""
    before, after = changed
    return _told("updated" if before is not None and before.fingerprint else "created", after)


def _told(what: str, cert: Certificate) -> Sequence[Event]:
    if not cert.fingerprint:  # while ACME has yet to get one
        return ()
    return [of(f"cert.{what}", cert=cert.id, servername=cert.servername, fingerprint=cert.fingerprint)]
