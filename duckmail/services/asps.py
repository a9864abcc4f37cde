"""Application passwords: one for each mail program, good for some protocols and never for the API.

- 16 letters from a generator hold 75 bits; blanks and case in what is typed do not matter.
- `selector` is 16 bits of a hash: it finds the few among an account's passwords that are worth hashing.
- Removing one ends the sessions that were opened with it, as its time does.
"""

import hashlib
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from duckmail.errors import LimitReached, NotFound
from duckmail.model.account import Principal, User
from duckmail.model.address import view
from duckmail.model.credentials import MAIL_SCOPES, ApplicationPassword, ScramVerifier, Trace
from duckmail.model.events import Event, of
from duckmail.model.settings import Settings
from duckmail.services.access import require_account
from duckmail.services.authlog import AuthLog
from duckmail.services.passwords import Passwords
from duckmail.services.scram import Scram
from storage.addresses import Addresses
from storage.asps import Asps
from storage.users import Users as Records

MOST = 50
LISTED = 1000  # at most; there were more allowed at some time, perhaps
LETTERS = 16
_FORM = re.compile(rf"[a-z]{{{LETTERS}}}")
_BLANKS = str.maketrans("", "", string.whitespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAsp:
    """`password`: "" makes one. `ttl`: seconds it lasts, 0 for ever. `scopes`: none of them is good for nothing."""

    description: str
    scopes: Sequence[str] = ()
    password: str = field(default="", repr=False)
    ttl: int = 0


def compact(password: str) -> str:
    """What was typed as an application password is stored; "" when it cannot be one."""
    if len(password) > 4 * LETTERS:
        return ""
    found = password.translate(_BLANKS).lower()
    return found if _FORM.fullmatch(found) else ""


def selector(user: str, password: str) -> str:
    """`password`: as `compact` gives it."""
    return hashlib.sha256(f"{user} {password}".encode()).hexdigest()[:4]


def listed_scopes(asp: ApplicationPassword) -> tuple[str, ...]:
    return MAIL_SCOPES if "*" in asp.scopes else asp.scopes


class ApplicationPasswords:
    def __init__(
        self,
        records: Asps,
        users: Records,
        addresses: Addresses,
        passwords: Passwords,
        authlog: AuthLog,
        *,
        settings: Settings | None = None,
        scram: Scram | None = None,
    ) -> None:
        """`settings`: how many an account may have. `scram`: makes the keys of passwords; without it there are none."""
        self._records = records
        self._users = users
        self._addresses = addresses
        self._passwords = passwords
        self._authlog = authlog
        self._settings = settings or Settings()
        self.scram = scram

    @property
    def most(self) -> int:
        """Of one account."""
        return self._settings.literal("const:asp:limit", MOST)

    async def create(self, user: str, new: NewAsp, by: Principal, trace: Trace) -> tuple[ApplicationPassword, str]:
        """The record, and the password, which cannot be read back.

        Raises: NotFound, LimitReached, NotPermitted, Unavailable.
        """
        require_account(by, user)
        owner = await self._users.get(user)
        if await self._records.count(user) >= self.most:
            raise LimitReached("Maximum allowed number of application passwords reached", allowed=self.most)
        password = new.password or "".join(secrets.choice(string.ascii_lowercase) for _ in range(LETTERS))
        hashed = await self._passwords.hash(password)
        now = datetime.now(UTC)
        scopes = tuple(scope for scope in MAIL_SCOPES if scope in new.scopes)
        asp = ApplicationPassword(
            id="",
            user=user,
            description=new.description,
            scopes=("*",) if "*" in new.scopes or scopes == MAIL_SCOPES else scopes,
            selector=selector(user, password),
            hash=hashed,
            created=now,
            expires=now + timedelta(seconds=new.ttl) if new.ttl else None,
            scram=await self._verifier(owner, password, hashed),
        )

        def told(identifier: str) -> list[Event]:
            return [of("asp.created", user, asp=identifier, description=asp.description)]

        made = replace(asp, id=await self._records.insert(asp, told))
        await self._note("create asp", made, trace, temporary=bool(new.ttl))
        return made, password

    async def address(self, user: User, wanted: str) -> str:
        """The address that a profile is for: one of the account's, by default its main one. Raises: NotFound."""
        if not wanted:
            return user.address
        found = (await self._addresses.find([view(wanted)])).get(view(wanted))
        if found is None or found.user != user.id:
            raise NotFound("Invalid or unknown address")
        return found.address

    async def get(self, user: str, asp: str, by: Principal) -> ApplicationPassword:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        return await self._records.get(user, asp)

    async def delete(self, user: str, asp: str, by: Principal, trace: Trace) -> None:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        removed = await self._records.delete(
            user, asp, lambda gone: [of("asp.deleted", user, asp=gone.id, description=gone.description)]
        )
        self._users.changed(user)
        await self._note("delete asp", removed, trace, temporary=removed.expires is not None)

    async def find(self, user: User, typed: str) -> ApplicationPassword | None:
        """The account's application password that `typed` is. Raises: Unavailable."""
        password = compact(typed)
        if not password:
            return None
        for asp in await self._records.select(user.id, selector(user.id, password), 4):
            if (await self._passwords.verify(password, asp.hash)).right:
                return asp
        return None

    async def _verifier(self, user: User, password: str, hashed: str) -> ScramVerifier | None:
        """Under the account's salt, which stays from now on."""
        if self.scram is None:
            return None
        scram = await self.scram.verifier(password, hashed, user.username, user)
        if user.scram is None:
            await self._users.keep_salt(user.id, scram)
        return scram

    async def strengthen(self, user: User, asp: ApplicationPassword, typed: str) -> None:
        """Makes the keys of a password that was right, if it has none. Raises: Unavailable."""
        password = compact(typed)
        if self.scram is not None and self.scram.lacks(asp.scram, asp.hash, user, password):
            scram = await self._verifier(user, password, asp.hash)
            if scram is not None:
                await self._records.keep_scram(asp.id, asp.hash, scram)

    async def of(self, user: str) -> Sequence[ApplicationPassword]:
        """All that an account may sign in with, of which a proof may be. Raises: Unavailable."""
        return await self._records.by_user(user, LISTED)

    async def used(self, asp: ApplicationPassword, event: str) -> None:
        """Many sign-ins within a minute are one. Raises: Unavailable."""
        if asp.last_use is None or datetime.now(UTC) - asp.last_use > timedelta(minutes=1):
            await self._records.used(asp.id, event)

    async def _note(self, action: str, asp: ApplicationPassword, trace: Trace, *, temporary: bool) -> None:
        await self._authlog.record(
            asp.user, action, "success", trace, asp=asp.id, aname=asp.description, temporary=temporary
        )

    async def list(self, user: str, by: Principal, *, temporary: bool) -> list[ApplicationPassword]:
        """`temporary`: with those that last only for a time. Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        await self._users.get(user)
        found = await self._records.by_user(user, LISTED)
        return [asp for asp in found if temporary or asp.expires is None]
