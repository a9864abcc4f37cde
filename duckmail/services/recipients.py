"""Who an address belongs to: exact, alias domain, wildcards, catch-all; longest match first."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from duckmail.model import address as addresses
from duckmail.services.batch import Batched
from storage.addresses import AddressRecord

ALIAS_SECONDS = 5.0
_ALIASES_KEPT = 10_000
_LONGEST_FIXED_PART = 32  # characters of a wildcard beside its star
_MAX_DOMAIN = 255


class AddressBook(Protocol):
    """What is needed of `storage.addresses.Addresses`."""

    async def find(self, views: Sequence[str], /) -> dict[str, AddressRecord]: ...

    async def alias_target(self, domain: str, /) -> str | None: ...


class Resolver:
    """Resolves addresses with one query, two when only a wildcard may match; concurrent ones share their queries."""

    def __init__(self, book: AddressBook) -> None:
        self._book = book
        self._exact: Batched[str, AddressRecord] = Batched(book.find)
        self._aliases: OrderedDict[str, tuple[float, str | None]] = OrderedDict()

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
        alias = await self._alias_target(domain)
        exact = await self._exact.get(f"{local}@{domain}")
        if exact is None and alias is not None:
            exact = await self._exact.get(f"{local}@{alias}")
        if exact is not None:
            return exact
        candidates = wildcards(local, domain, alias)
        found = await self._book.find(candidates)
        return next((found[candidate] for candidate in candidates if candidate in found), None)

    async def _alias_target(self, domain: str) -> str | None:
        now = time.monotonic()
        known = self._aliases.get(domain)
        if known is not None and known[0] > now:
            return known[1]
        target = await self._book.alias_target(domain)
        self._aliases[domain] = (now + ALIAS_SECONDS, target)
        self._aliases.move_to_end(domain)
        if len(self._aliases) > _ALIASES_KEPT:
            self._aliases.popitem(last=False)
        return target


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
