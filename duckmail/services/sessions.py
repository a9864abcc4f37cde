"""The open sessions of a process, and their end when the sign-in they came from is no longer good.

- A session ends when its account is gone, disabled or suspended, may not use the protocol any more, has a new password
  or another reason to sign in anew (`auth_version`), or is logged out (`session_version`); and when the
  application password, or the API's token, it was opened with is gone.
- What decides is what the database says, never a message: a change published in Redis only makes us look at once.
  Every `POLL_SECONDS` all accounts with sessions are looked at, whether or not Redis is up.
- A session that waits for its client ends at once, with a last word; another one when its command is answered.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from duckmail.errors import Unavailable
from duckmail.model.account import Principal, Standing
from duckmail.runtime.log import event
from duckmail.services.connections import Connections
from storage.store import Store

_logger = logging.getLogger("duckmail.sessions")

POLL_SECONDS = 1.5  # with the query and the goodbye: within 2 s
BATCH = 1000  # accounts in one query
LOGOUT = "Logout requested from API"

_NOT_ACTIVE = "The account is not active"
_NO_SCOPE = "Access to requested service disabled"
_AGAIN = "Log in again"


@dataclass(frozen=True, slots=True, eq=False)
class _Session:
    """`end`: says the last word and ends it; it neither waits nor raises."""

    principal: Principal
    end: Callable[[str], None]


class Sessions:
    def __init__(self, store: Store) -> None:
        """Takes the store's news of accounts."""
        self._store = store
        self._open: dict[str, set[_Session]] = {}  # by account
        self._heard: set[str] = set()
        self._news = asyncio.Event()
        self.connections = Connections(store.presence)
        store.account_changed = self._hear

    @property
    def users(self) -> int:
        """Accounts with open sessions."""
        return len(self._open)

    @contextmanager
    def joined(self, principal: Principal, end: Callable[[str], None]) -> Iterator[None]:
        """A session while entered. `end` is called once, with a line for the client, when it has to end."""
        session, user = _Session(principal, end), principal.user
        self._open.setdefault(user, set()).add(session)
        self._store.watch(user)
        try:
            yield
        finally:
            self._store.unwatch(user)
            self._leave(user, session)

    def _leave(self, user: str, session: _Session) -> None:
        sessions = self._open.get(user, set())
        sessions.discard(session)
        if not sessions:
            self._open.pop(user, None)

    def _hear(self, user: str) -> None:
        if user in self._open:
            self._heard.add(user)
            self._news.set()

    async def keep(self) -> None:
        """Looks at what is heard of, and at everything in time; until cancelled."""
        due = monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - monotonic())):
                    await self._news.wait()
            self._news.clear()
            heard, self._heard = self._heard, set()
            if monotonic() >= due:
                heard, due = set(self._open), monotonic() + POLL_SECONDS
            try:
                await self._look(sorted(heard))
            except Unavailable as error:  # the next look comes soon
                event(_logger, logging.DEBUG, "sessions not looked at", fields=error.fields)

    async def _look(self, users: list[str]) -> None:
        for start in range(0, len(users), BATCH):
            batch = users[start : start + BATCH]
            # As of now: who signs in while we wait has seen what we are about to read, or something newer.
            sessions = [session for user in batch for session in self._open.get(user, ())]
            standings = await self._store.users.standings(batch)
            credentials = {session.principal.credential for session in sessions} - {""}
            living: set[str | bytes] = set()
            if credentials:
                living |= await self._store.asps.living(sorted(credentials))
            tokens = {session.principal.token for session in sessions} - {b""}
            if tokens:
                living |= await self._store.tokens.living(sorted(tokens))
            self._end(sessions, standings, living)

    def _end(self, sessions: Iterable[_Session], standings: dict[str, Standing], living: set[str | bytes]) -> None:
        for session in sessions:
            principal = session.principal
            why = reason(principal, standings.get(principal.user), living)
            if why and session in self._open.get(principal.user, ()):
                self._leave(principal.user, session)
                event(_logger, logging.INFO, "session ended", user=principal.user, scope=principal.scope, reason=why)
                session.end(why)


def reason(principal: Principal, standing: Standing | None, living: Container[str | bytes] = ()) -> str:
    """Why a session of `principal` has to end, as its client may be told; "" when it may go on.

    `living`: application passwords that still sign in, and tokens.
    """
    if standing is None or not standing.active:
        return _NOT_ACTIVE
    outdated = any(used and used not in living for used in (principal.credential, principal.token))
    if standing.auth_version > principal.auth_version or outdated:
        return _AGAIN
    if principal.scope in standing.disabled_scopes:
        return _NO_SCOPE
    if standing.session_version > principal.session_version:
        return spoken(standing.logout_reason) or LOGOUT
    return ""


def spoken(text: str) -> str:
    """One line of printable ASCII, which no protocol takes for a response code."""
    line = "".join(sign if " " <= sign <= "~" else "?" for sign in text)
    return line.strip().lstrip("[")
