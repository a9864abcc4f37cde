"""The authlog: what was tried and changed with an account's credentials, for its owner to look at.

- What is like an earlier entry (action, result, protocol, address, and what it was done to) of the same 6 hours is
  counted to it.
- Entries are kept for `RETENTION`; nothing in them signs anybody in.
- What is logged does not fail because the log does.
"""

import hashlib
import logging
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import orjson

from duckmail.errors import DuckmailError
from duckmail.model.account import Principal
from duckmail.model.credentials import AuthEvent, Trace
from duckmail.model.settings import Settings
from duckmail.runtime.log import event as log_event
from duckmail.services.access import require_account
from storage.authlog import AuthEvents, EventPage
from storage.users import Users as Records

RETENTION = timedelta(days=30)
MILLISECOND = timedelta(milliseconds=1)
LONGEST = timedelta(days=36_500) // MILLISECOND
_BUCKET_SECONDS = 6 * 3600
_NOWHERE = Trace()

_logger = logging.getLogger("duckmail.auth")


def shown_target(target: str) -> str:
    """Where mail goes, without the login of a relay."""
    scheme, division, rest = target.partition("://")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    return f"{scheme}://{rest[:end].rpartition('@')[2]}{rest[end:]}" if division else target


class AuthLog:
    def __init__(self, events: AuthEvents, users: Records, settings: Settings | None = None) -> None:
        """`settings`: how long entries are kept; zero keeps no log."""
        self._events = events
        self._users = users
        self._settings = settings or Settings()

    async def record(
        self, user: str, action: str, result: str = "", trace: Trace = _NOWHERE, protocol: str = "API", **about: object
    ) -> str:
        """The entry's id; "" when there is no log, or it could not be written.

        Args:
            about: further fields, by the names of the contract.
        """
        kept = self._settings.literal("const:authlog:time", RETENTION // MILLISECOND)
        if not kept:
            return ""
        now = datetime.now(UTC)
        same = [protocol, trace.ip, action, result, *map(about.get, ("target", "asp", "filter", "credential"))]
        digest = hashlib.md5(orjson.dumps(same), usedforsecurity=False).digest()
        entry = AuthEvent(
            id="",
            key=b64encode(digest).decode(),
            action=action,
            result=result,
            trace=trace,
            protocol=protocol,
            created=now,
            last=now,
            expires=now + min(kept, LONGEST) * MILLISECOND,
            events=1,
            about={name: value for name, value in about.items() if value is not None},
        )
        try:
            return await self._events.add(user, entry, int(now.timestamp()) // _BUCKET_SECONDS)
        except DuckmailError as error:
            log_event(_logger, logging.WARNING, "authlog not written", action=action, fields=error.fields)
            return ""

    async def record_forwards(
        self, user: str, action: str, before: Iterable[str], after: Iterable[str], trace: Trace, **about: str
    ) -> None:
        """An entry for each target that was not there before."""
        known = set(map(shown_target, before))
        for target in dict.fromkeys(map(shown_target, after)):
            if target not in known:
                await self.record(user, action, "success", trace, "API", target=target, **about)

    async def list(
        self, user: str, by: Principal, limit: int, *, action: str = "", ip: str = "", after: str = "", before: str = ""
    ) -> EventPage:
        """Newest first. Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        await self._users.get(user)
        narrowed = {name: value for name, value in (("action", action), ("ip", ip)) if value}
        return await self._events.list(user, narrowed, limit, after, before)

    async def get(self, user: str, event: str, by: Principal) -> AuthEvent:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        return await self._events.get(user, event)
