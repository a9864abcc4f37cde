"""Who an address belongs to: exact, alias domain, wildcards, catch-all; longest match first. Which domains are ours."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from duckmail.model import address as addresses
from duckmail.model.settings import Settings
from duckmail.runtime.batch import Batched
from storage.addresses import AddressRecord

ALIAS_SECONDS = 5.0  # what is known of a domain is remembered
CACHED_SECONDS = 300.0  # with the domain cache on
_DOMAINS_KEPT = 10_000
_LONGEST_FIXED_PART = 32  # characters of a wildcard beside its star
_MAX_DOMAIN = 255

V = TypeVar("V")


class AddressBook(Protocol):
    """What is needed of `storage.addresses.Addresses`."""

    async def find(self, views: Sequence[str], /) -> dict[str, AddressRecord]: ...

    async def has_domain(self, domain: str, /) -> bool: ...

    async def alias_target(self, domain: str, /) -> str | None: ...


class Resolver:
    """Resolves addresses with one query, two when only a wildcard may match; concurrent ones share their queries."""

    def __init__(self, book: AddressBook, settings: Settings | None = None, own: Iterable[str] = ()) -> None:
        """`own`: domains of this server that need no address."""
        self._book = book
        self._own = frozenset(map(addresses.normalise_domain, own))
        known = settings or Settings()
        self._exact: Batched[str, AddressRecord] = Batched(book.find)
        self._aliases: _Remembered[str | None] = _Remembered(book.alias_target, known)
        self._local: _Remembered[bool] = _Remembered(book.has_domain, known)

    async def is_local(self, domain: str) -> bool:
        """Whether mail for this domain belongs here: an address, an alias or a catch-all of it exists.

        Raises:
            Unavailable: the database does not answer.
        """
        name = addresses.normalise_domain(domain)
        if not name or len(name) > _MAX_DOMAIN or "*" in name:
            return False
        if name in self._own:
            return True
        return await self._local.get(name) or await self._aliases.get(name) is not None

    async def resolve(self, address: str) -> AddressRecord | None:
        """The address record that mail to `address` goes to, None when there is none.

        Raises:
            Unavailable: the database does not answer.
        """
        local, domain = addresses.split(address)
        local, domain = addresses.local_view(local), addresses.normalise_domain(domain)
        # H8: what is stored with a star is a pattern of ours; nobody may name the pattern itself.
        if not local or not domain or len(domain) > _MAX_DOMAIN or "*" in address:
            return None
        alias = await self._aliases.get(domain)
        exact = await self._exact.get(f"{local}@{domain}")
        if exact is None and alias is not None:
            exact = await self._exact.get(f"{local}@{alias}")
        if exact is not None:
            return exact
        candidates = wildcards(local, domain, alias)
        found = await self._book.find(candidates)
        return next((found[candidate] for candidate in candidates if candidate in found), None)


def wildcards(local: str, domain: str, alias: str | None) -> list[str]:
    """The wildcard addresses that match, best first (protocols §3.3, api §4.1).

    `prefix*` and `*suffix` by length, longest first, in the domain, then in the alias's target; `*@` both; `local@*`.
    """
    domains = [domain] if alias is None else [domain, alias]
    longest = min(len(local), _LONGEST_FIXED_PART)
    found = []
    for each in domains:
        for length in range(longest, 0, -1):
            found += [f"{local[:length]}*@{each}", f"*{local[-length:]}@{each}"]
    found += [f"*@{each}" for each in domains]
    found.append(f"{local}@*")
    return found


class _Remembered(Generic[V]):
    """What a query said of a domain, for `ALIAS_SECONDS`, or `CACHED_SECONDS` where that is set."""

    def __init__(self, query: Callable[[str], Awaitable[V]], settings: Settings) -> None:
        self._query = query
        self._settings = settings
        self._known: OrderedDict[str, tuple[float, V]] = OrderedDict()

    async def get(self, domain: str) -> V:
        now = time.monotonic()
        known = self._known.get(domain)
        if known is not None and known[0] > now:
            return known[1]
        found = await self._query(domain)
        cached = self._settings.given("const:domaincache:enabled")
        self._known[domain] = (now + (CACHED_SECONDS if cached else ALIAS_SECONDS), found)
        self._known.move_to_end(domain)
        if len(self._known) > _DOMAINS_KEPT:
            self._known.popitem(last=False)
        return found
