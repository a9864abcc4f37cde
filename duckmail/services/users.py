"""Accounts: made, read, changed and removed here, by whoever may (`by`).

- A user name is unique without its dots, an address without dots and label; the database's indexes decide.
- What ends sign-ins (a new password, a suspension) counts `auth_version` up in the same write.
- Removing an account is one transaction: nobody signs in, nothing is accepted for it any more; its mail goes to
  `archived` afterwards.
"""

import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta

from duckmail.errors import InvalidInput, NotFound
from duckmail.model.account import DEFAULT_LIMITS, Limits, Principal, User, UserQuery
from duckmail.model.address import normalise, split, view
from duckmail.model.credentials import Trace
from duckmail.model.events import Event, of
from duckmail.model.target import shown
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.services.access import SERVER_ROLES, require_account, require_server
from duckmail.services.authlog import AuthLog
from duckmail.services.breaches import Breaches
from duckmail.services.folders import default_folders
from duckmail.services.names import is_email, is_username
from duckmail.services.passwords import MAX_PASSWORD, Passwords, require_supported
from duckmail.services.pgp import Pgp
from duckmail.services.scram import Scram, renewed
from storage.addresses import Addresses
from storage.removals import Removed, Restored
from storage.users import Folder, Removal
from storage.users import Users as Records

TEMPORARY = timedelta(hours=24)  # how long a temporary password signs in

_LETTERS = string.ascii_letters + string.digits
_NOWHERE = Trace()
_LIMIT_NAMES = frozenset(limit.name for limit in fields(Limits))
# What an account does not change of itself: its limits, what bars it, and what others keep about it.
_WITHHELD = _LIMIT_NAMES | {
    "tags",
    "disabled_scopes",
    "internal_data",
    "disabled",
    "suspended",
    "activated",
    "mta_relay",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """An account to be made.

    Args:
        password: "" for none. `hashed`: it is a hash already. `temporary`: has to be changed at the first sign-in.
            `safe`: refused when others know it.
        address: None for the user name, completed by the server's domain; "" for an account without an address.
        folders: paths of `sent`, `trash`, `drafts`, `junk` instead of those of the language.
        attributes: of `User` and `Limits`, by name.
    """

    username: str
    password: str = field(default="", repr=False)
    hashed: bool = False
    safe: bool = False
    temporary: bool = False
    address: str | None = None
    tag_address: bool = False
    folders: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Account:
    """A user with what it uses (octets) and what it may (no limit is 0 here)."""

    user: User
    used: int
    allowed: Limits


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of accounts by ascending id; `total` counts all pages."""

    accounts: list[Account]
    total: int
    has_previous: bool
    has_next: bool


class Users:
    def __init__(
        self,
        records: Records,
        addresses: Addresses,
        passwords: Passwords,
        domain: str,
        quota: int = DEFAULT_LIMITS.quota,
        *,
        authlog: AuthLog | None = None,
        targets: TargetPasswords | None = None,
        breaches: Breaches | None = None,
        pgp: Pgp | None = None,
        scram: Scram | None = None,
    ) -> None:
        """
        Args:
            domain: of the addresses of users that are made without one.
            quota: octets for users without their own; 0 for no limit.
            authlog: where changes of accounts are told.
            targets: seals the passwords in them.
            breaches: where passwords are looked up that have to be safe.
            pgp: checks keys that mail is encrypted to; without it none is taken.
            scram: makes the keys of passwords; without it there are none.
        """
        self._records = records
        self._addresses = addresses
        self._passwords = passwords
        self._domain = domain
        self._quota = quota
        self._authlog = authlog
        self._targets = targets or TargetPasswords()
        self._breaches = breaches
        self._pgp = pgp
        self._scram = scram

    async def _key(self, key: str) -> tuple[str, ...]:
        if key and self._pgp is None:
            raise InvalidInput("PGP keys cannot be checked")
        return await self._pgp.info(key) if key and self._pgp is not None else ()

    async def create(self, new: NewUser, by: Principal, trace: Trace = _NOWHERE) -> str:
        """Makes the account with its address and default mailboxes; gives its id.

        Raises:
            UsernameTaken, AddressTaken, InvalidInput, InsecurePassword, UnsupportedHash, NotPermitted, Unavailable,
            CommitUnknown.
        """
        require_server(by)
        username = new.username.lower()
        if not is_username(username):
            raise InvalidInput("Invalid username")
        address = await self._main_address(username, new.address)
        hashed = await self._hash(new.password, new.hashed, new.safe)
        user = _with(User(id="", username=username, address=address), new.attributes)
        user = replace(user, key_info=await self._key(user.pub_key))
        relay = self._targets.sealed([user.mta_relay])[0]
        user = replace(user, targets=self._targets.sealed(user.targets), mta_relay=relay)
        if new.temporary and hashed:
            user = replace(user, temp_password_hash=hashed, temp_password_expires=datetime.now(UTC) + TEMPORARY)
        else:
            scram = await renewed(self._scram, new.password, hashed, username)
            user = replace(user, password_hash=hashed, scram=scram)
        folders = _distinct(default_folders(user.language, user.retention, new.folders))
        tags = user.tags if new.tag_address else ()
        about = {"username": user.username, "name": user.name or None, "address": user.address or None}
        made = await self._records.create(
            user,
            view(address) if address else "",
            folders,
            tags,
            lambda made: [of("user.created", made, **about), *_forwards(made, user.targets)],
        )
        await self._note(made, "account created", "success", trace)
        await self._note_forwards(made, (), user.targets, trace)
        return made

    async def _note(self, user: str, action: str, result: str, trace: Trace, **about: object) -> None:
        if self._authlog is not None:
            await self._authlog.record(user, action, result, trace, **about)  # type: ignore[arg-type]

    async def _note_forwards(self, user: str, before: Iterable[str], after: Iterable[str], trace: Trace) -> None:
        if self._authlog is not None:
            await self._authlog.record_forwards(user, "user forward added", before, after, trace)

    async def _main_address(self, username: str, wanted: str | None) -> str:
        if wanted == "":
            return ""
        text = wanted or (username if "@" in username else f"{username}@{self._domain}")
        local, domain = split(normalise(text))
        # A label is never part of a main address: mail with any label finds it.
        address = f"{local.partition('+')[0]}@{domain}"
        # The server's own domain, or one that has mail here, may be a host name of one label.
        here = "." not in domain and (domain == self._domain or await self._addresses.has_domain(domain))
        if not is_email(address, least=1 if here else 2):
            raise InvalidInput("Invalid email address")
        if "*" in address:
            raise InvalidInput("Address can not contain *")
        return address

    async def _hash(self, password: str, hashed: bool, safe: bool) -> str:
        if hashed and password:
            require_supported(password)
            return password
        if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD:
            raise InvalidInput(f"Passwords have at most {MAX_PASSWORD} octets")
        if safe and password and self._breaches is not None:
            await self._breaches.require_unknown(password)
        return await self._passwords.hash(password) if password else ""

    async def get(self, user: str, by: Principal) -> User:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        return await self._records.get(user)

    async def account(self, user: str, by: Principal) -> Account:
        """Raises: NotFound, NotPermitted, Unavailable."""
        found = await self.get(user, by)
        used = await self._records.used([user])
        return Account(found, used.get(user, 0), self._allowed(found))

    def _allowed(self, user: User) -> Limits:
        return replace(user.allowed, quota=user.quota(self._quota).octets)

    async def resolve(self, username: str, by: Principal) -> str:
        """The id of the account with this user name; case and dots do not matter. Raises: NotFound, NotPermitted."""
        require_server(by)
        return (await self._records.by_username(username)).id

    async def sign_in_name(self, name: str) -> User | None:
        """Whom a login name means: a user name without regard to dots, or an address with label and alias domains.

        An address comes first; a user name may look like one.
        """
        text = name.strip()
        try:
            if "@" in text:
                owner = await self._owner(text)
                if owner:
                    return await self._records.get(owner)
            return await self._records.by_username(text)
        except NotFound:
            return None

    async def _owner(self, address: str) -> str:
        form = view(address)
        local, _, domain = form.rpartition("@")
        found = await self._addresses.find([form])
        if form not in found:
            target = await self._addresses.alias_target(domain)
            if target is None:
                return ""
            form = f"{local}@{target}"
            found = await self._addresses.find([form])
        return found[form].user if form in found else ""

    async def list(self, query: UserQuery, limit: int, by: Principal, after: str = "", before: str = "") -> Listing:
        """A page of accounts behind id `after` or ahead of id `before`. Raises: NotPermitted, Unavailable."""
        require_server(by)
        page = await self._records.list(query, limit, after, before)
        used = await self._records.used([user.id for user in page.users])
        accounts = [Account(user, used.get(user.id, 0), self._allowed(user)) for user in page.users]
        return Listing(accounts, page.total, page.has_previous, page.has_next)

    async def update(
        self,
        user: str,
        changes: Mapping[str, object],
        by: Principal,
        password: str | None = None,
        hashed: bool = False,
        *,
        safe: bool = False,
        trace: Trace = _NOWHERE,
    ) -> User:
        """Changes attributes of `User` and `Limits` by name; gives the account as it is now. Those that an account does
        not change of itself are left as they are when it asks.

        Args:
            password: a new one, "" for none, None leaves it. `hashed`: it is a hash already.
            safe: refuse a password that others know; a hash cannot be looked up.

        Raises:
            NotFound, NotPermitted, UnsupportedHash, InsecurePassword, InvalidInput, Unavailable.
        """
        require_account(by, user)
        own = by.role not in SERVER_ROLES
        values = {name: value for name, value in changes.items() if not (own and name in _WITHHELD)}
        added: list[str] = []
        if isinstance(targets := values.get("targets"), tuple | list):
            known = (await self._records.get(user)).targets
            values["targets"] = self._targets.sealed(targets, known)
            added = [target for target in targets if target not in set(map(shown, known))]
        if "mta_relay" in values:
            relays = [(await self._records.get(user)).mta_relay]
            values["mta_relay"] = self._targets.sealed([str(values["mta_relay"])], relays)[0]
        if "pub_key" in values:
            values["key_info"] = await self._key(str(values["pub_key"]))
        if password is not None:
            values["password_hash"] = made = await self._hash(password, hashed, safe)
            owner = await self._records.get(user)
            values["scram"] = await renewed(self._scram, password, made, owner.username, owner)
            values["temp_password_hash"] = ""
            values["temp_password_starts"] = None
            values["temp_password_expires"] = None
        revoke = password is not None or values.get("suspended") is True
        before = (await self._records.get(user)).targets if "targets" in values else ()
        changed = [of("user.password.changed", user)] if password is not None else []
        updated = await self._records.update(user, values, revoke, [*changed, *_forwards(user, added)])
        if "targets" in values:
            await self._note_forwards(user, before, updated.targets, trace)
        if password is not None:
            await self._note(user, "password change", "success", trace)
        return updated

    async def set_password(self, user: str, password: str, by: Principal) -> User:
        """Raises: as `update`."""
        return await self.update(user, {}, by, password=password)

    async def reset_password(
        self, user: str, by: Principal, valid_after: datetime | None = None, trace: Trace = _NOWHERE
    ) -> str:
        """A new temporary password beside the one there is; it has to be changed at the first sign-in.

        Raises: NotFound, NotPermitted, Unavailable.
        """
        require_server(by)
        password = "".join(secrets.choice(_LETTERS) for _ in range(12))
        starts = valid_after if valid_after and valid_after > datetime.now(UTC) else None
        changes: dict[str, object] = {
            "temp_password_hash": await self._passwords.hash(password),
            "temp_password_starts": starts,
            "temp_password_expires": (starts or datetime.now(UTC)) + TEMPORARY,
        }
        await self._records.update(user, changes)
        await self._note(user, "reset", "", trace)
        return password

    async def removed(self, user: str, by: Principal) -> Removed:
        """Raises: NotFound: it is not removed, or gone for good. NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.removals.get(user)

    async def restore(self, user: str, by: Principal, trace: Trace = _NOWHERE) -> Restored:
        """Raises: NotFound, AccountExists, NotPermitted, Unavailable, CommitUnknown."""
        require_server(by)
        restored = await self._records.removals.restore(user, lambda _: [of("user.delete.cancelled", user)])
        await self._note(user, "restore user", "success", trace)
        return restored

    async def log_out(self, user: str, reason: str, by: Principal) -> None:
        """Ends the open sessions of mail programs, which are told `reason`.

        Raises: NotFound, NotPermitted, Unavailable.
        """
        require_account(by, user)
        await self._records.log_out(user, reason)

    async def delete(
        self, user: str, by: Principal, delete_after: datetime | None = None, trace: Trace = _NOWHERE
    ) -> Removal:
        """Removes the account; one that does not exist is removed already.

        Args:
            delete_after: kept with the record of the removal: not before it may its mail be deleted for good.

        Raises:
            NotPermitted, Unavailable, CommitUnknown.
        """
        require_server(by)
        removal = await self._records.remove(user, delete_after, lambda _: [of("user.delete.started", user)])
        if removal.existed:
            await self._note(user, "delete user", "success", trace)
        return removal


def _forwards(user: str, targets: Iterable[str]) -> list[Event]:
    return [of("forward added", user, type="user", target=shown(target)) for target in targets]


def normalise_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Trimmed, each once without regard to case (first spelling kept), sorted without regard to case."""
    kept: dict[str, str] = {}
    for tag in (tag.strip() for tag in tags):
        if tag:
            kept.setdefault(tag.lower(), tag)
    return tuple(kept[key] for key in sorted(kept))


def _with(user: User, attributes: Mapping[str, object]) -> User:
    limits = {name: value for name, value in attributes.items() if name in _LIMIT_NAMES}
    others = {name: value for name, value in attributes.items() if name not in _LIMIT_NAMES}
    return replace(user, limits=replace(user.limits, **limits), **others)  # type: ignore[arg-type]


def _distinct(folders: list[Folder]) -> list[Folder]:
    if len({folder.path for folder in folders}) != len(folders):
        raise InvalidInput("Mailbox names have to differ")
    return folders
