"""Addresses as they are managed: those of accounts, and those that only forward.

- An address is unique without dots and label; a label is never part of one, a wildcard has one star at its edge.
- A user's own token makes addresses only in the domains it is allowed, never a wildcard, none that forwards; it does
  not set their internal data.
- The main address is one of the account's, never a wildcard, and cannot be taken away.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from duckmail.errors import AddressNotFound, Cannot, ChangeNotAllowed, InvalidInput, NotPermitted, WildcardNotPermitted
from duckmail.model.account import DEFAULT_LIMITS, Principal, User
from duckmail.model.address import normalise, normalise_domain, split, view
from duckmail.model.events import of
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.services.access import SERVER_ROLES, require_account, require_server
from duckmail.services.recipients import Resolver
from storage.addresses import Addresses as AddressBook
from storage.addresses import AddressRecord
from storage.addressrecords import AddressQuery, AddressRecords, AddressSlice, Renamed
from storage.redis.counters import Count
from storage.users import Users as UserRecords

LONGEST_FIXED_PART = 32  # characters of a wildcard beside its star
_WORD = re.compile(r"\w+")
_BAD_WILDCARD = 'Invalid wildcard address, use "*@domain" or "user@*"'


class Counters(Protocol):
    """What is needed of `storage.redis.counters.Counters`."""

    async def get(self, key: str) -> Count: ...


@dataclass(frozen=True, slots=True)
class Forwards:
    """Of one day. `ttl`: seconds until they are counted anew, 0 when none was counted."""

    allowed: int
    used: int = 0
    ttl: int = 0


def forwards_key(owner: str) -> str:
    """The counter of what an account or a forwarded address has forwarded within a day."""
    return f"forwards:{owner}"


class Addresses:
    def __init__(
        self,
        records: AddressRecords,
        book: AddressBook,
        users: UserRecords,
        counters: Counters,
        user_domains: Sequence[str] = (),
        *,
        targets: TargetPasswords | None = None,
    ) -> None:
        """
        Args:
            user_domains: in which a user's own token makes addresses; empty for that of its main address.
            targets: seals the passwords in them.
        """
        self._targets = targets or TargetPasswords()
        self._records = records
        self._book = book
        self._users = users
        self._counters = counters
        self._resolver = Resolver(book)
        self._user_domains = frozenset(map(normalise_domain, user_domains))

    # -- of accounts -----------------------------------------------------------------------------------------------

    async def list(
        self, query: AddressQuery, limit: int, by: Principal, after: str = "", before: str = ""
    ) -> AddressSlice:
        """Raises: NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.list(query, limit, after, before)

    async def of_user(self, user: str, by: Principal) -> tuple[User, Sequence[AddressRecord]]:
        """The account and all its addresses, by address. Raises: NotFound (the user), NotPermitted, Unavailable."""
        require_account(by, user)
        return await self._users.get(user), await self._book.by_user(user)

    async def of_user_one(self, user: str, address: str, by: Principal) -> tuple[User, AddressRecord]:
        """Raises: NotFound (the user), AddressNotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        owner, record = await self._users.get(user), await self._records.get(address)
        if record.user != user:
            raise AddressNotFound
        return owner, record

    async def create(self, record: AddressRecord, by: Principal, *, main: bool, wildcard: bool) -> str:
        """Gives `record.user` one more address; its id. `wildcard`: it may be one.

        Raises: AddressTaken, InvalidInput, WildcardNotPermitted, NotFound (the user), NotPermitted, Unavailable.
        """
        require_account(by, record.user)
        address = checked(record.address, wildcard)
        owner = await self._users.get(record.user)
        await self._require_here(address)
        if main and "*" in address:
            raise WildcardNotPermitted
        self._require_domain(by, owner, address)
        if by.role not in SERVER_ROLES:
            record = replace(record, internal_data="{}")
        return await self._records.create(
            replace(record, address=address, view=view(address)),
            main,
            lambda made: [of("address.user.created", record.user, address=made, value=address)],
        )

    async def update(
        self, user: str, address: str, changes: Mapping[str, object], by: Principal, *, main: bool = False
    ) -> None:
        """Changes attributes of `AddressRecord` by name. `main`: it becomes the main address.

        Raises: as `create`; AddressNotFound, ChangeNotAllowed.
        """
        owner, record = await self.of_user_one(user, address, by)
        values, new = self._renamed(record, changes)
        if by.role not in SERVER_ROLES:
            values.pop("internal_data", None)
        if new != record.address:
            await self._require_here(new)
            self._require_domain(by, owner, new)
        if main and "*" in new:
            raise WildcardNotPermitted
        was_main = owner.address == record.address
        await self._records.update(record, values, new if main or was_main else None)

    def _renamed(self, record: AddressRecord, changes: Mapping[str, object]) -> tuple[dict[str, object], str]:
        """The changes with a new address in its forms, and the address as it is then."""
        values = dict(changes)
        wanted = values.pop("address", None)
        if not isinstance(wanted, str) or normalise(wanted) == record.address:
            return values, record.address
        new = checked(wanted, wildcard=True)
        if "*" in record.address or "*" in new:
            raise ChangeNotAllowed
        return {**values, "address": new, "view": view(new)}, new

    async def _require_here(self, address: str) -> None:
        """A domain of one label is a name of this host or a slip: it has to have mail here already.

        Raises: InvalidInput, Unavailable.
        """
        domain = split(address)[1]
        if "." not in domain and domain != "*" and not await self._resolver.is_local(domain):
            raise InvalidInput("The domain is not fully qualified")

    def _require_domain(self, by: Principal, owner: User, address: str) -> None:
        """What a user's own token may make. Raises: NotPermitted."""
        if by.role in SERVER_ROLES:
            return
        allowed = self._user_domains or {split(owner.address)[1]}
        if "*" in address or split(address)[1] not in allowed:
            raise NotPermitted("Not enough privileges")

    async def delete(self, user: str, address: str, by: Principal) -> None:
        """Raises: NotFound (the user), AddressNotFound, Cannot: it is the main address, NotPermitted, Unavailable."""
        owner, record = await self.of_user_one(user, address, by)
        if owner.address == record.address:
            raise Cannot("Can not delete main address")
        gone = of("address.user.deleted", user, address=record.id, value=record.address)
        await self._records.delete(record, [gone])

    # -- that forward ----------------------------------------------------------------------------------------------

    async def forwarded(self, address: str, by: Principal) -> AddressRecord:
        """By id. Raises: AddressNotFound: also for an account's; NotPermitted, Unavailable."""
        require_server(by)
        record = await self._records.get(address)
        if record.user:
            raise AddressNotFound
        return record

    async def create_forwarded(self, record: AddressRecord, by: Principal, *, wildcard: bool) -> str:
        """Raises: AddressTaken, InvalidInput, NotPermitted, Unavailable."""
        require_server(by)
        address = checked(record.address, wildcard)
        await self._require_here(address)
        _not_to_itself(address, record.targets)
        targets = self._targets.sealed(record.targets)
        return await self._records.create(
            replace(record, address=address, view=view(address), targets=targets),
            told=lambda made: [of("address.forwarded.created", address=made, value=address)],
        )

    async def update_forwarded(self, address: str, changes: Mapping[str, object], by: Principal) -> None:
        """Raises: AddressNotFound, AddressTaken, ChangeNotAllowed, InvalidInput, NotPermitted, Unavailable."""
        record = await self.forwarded(address, by)
        values, new = self._renamed(record, changes)
        if new != record.address:
            await self._require_here(new)
        targets = values.get("targets", record.targets)
        _not_to_itself(new, targets if isinstance(targets, tuple) else ())
        if isinstance(given := values.get("targets"), tuple):
            values = {**values, "targets": self._targets.sealed(given, record.targets)}
        await self._records.update(record, values)

    async def delete_forwarded(self, address: str, by: Principal) -> None:
        """Raises: AddressNotFound, NotPermitted, Unavailable."""
        record = await self.forwarded(address, by)
        gone = of("address.forwarded.deleted", address=record.id, value=record.address)
        await self._records.delete(record, [gone])

    async def forwards(self, record: AddressRecord) -> Forwards:
        """What a forwarded address may forward today, and has."""
        count = await self._counters.get(forwards_key(record.id))
        return Forwards(
            record.forwards or self._users.settings.limits.forwards or DEFAULT_LIMITS.forwards, count.value, count.ttl
        )

    # -- of all ----------------------------------------------------------------------------------------------------

    async def resolve(self, address: str, by: Principal, *, wildcard: bool) -> AddressRecord:
        """Who mail to an address, or the address with an id, belongs to. `wildcard`: also by one.

        Raises: AddressNotFound, NotPermitted, Unavailable.
        """
        require_server(by)
        if "@" not in address:
            return await self._records.get(address)
        if wildcard or "*" in address:
            found = (await self._book.find([view(address)])).get(view(address))
            if found is not None:
                return found
        record = await self._resolver.resolve(address)
        if record is None or ("*" in record.address and not wildcard):
            raise AddressNotFound("Invalid or unknown address")
        return record

    async def rename_domain(self, old: str, new: str, by: Principal) -> Renamed:
        """Raises: AddressTaken, InvalidInput, NotPermitted, Unavailable, CommitUnknown."""
        require_server(by)
        before, after = normalise_domain(old), normalise_domain(new)
        if before == after:
            return Renamed()
        told = [of("address.domain.renamed", previous=before, current=after)]
        return await self._records.rename_domain(before, after, told)


def checked(address: str, wildcard: bool) -> str:
    """A new address in its one spelling. `wildcard`: it may be one.

    Raises: InvalidInput.
    """
    new = normalise(address)
    if "+" in new:
        raise InvalidInput("Address can not contain +")
    if "*" not in new:
        return new
    if not wildcard:
        raise InvalidInput("Address can not contain *")
    local, domain = split(new)
    fixed = local.replace("*", "", 1)
    everywhere = domain == "*" and _WORD.fullmatch(local)
    within = "*" not in domain and "*" not in fixed and (local.startswith("*") or local.endswith("*"))
    if not (everywhere or within) or len(fixed) > LONGEST_FIXED_PART:
        raise InvalidInput(_BAD_WILDCARD)
    return new


def _not_to_itself(address: str, targets: Sequence[str]) -> None:
    """Raises: InvalidInput."""
    own = view(address)
    for target in targets:
        if "://" not in target and view(target) == own:
            raise InvalidInput(f'Can not forward to self "{target}"')
