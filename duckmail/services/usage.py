"""What an account has used of its limits today, as the counters that enforce them have it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from duckmail.model.account import Principal
from duckmail.services.access import require_account
from duckmail.services.addresses import forwards_key
from duckmail.services.connections import Connections
from duckmail.services.downloads import download_key
from duckmail.services.sendinglimit import recipients_key
from storage.filters import Filters
from storage.redis.counters import Count, Counters
from storage.redis.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Usage:
    """`counts`: by the names of `Limits`; a limit that nobody counts is absent. `sessions`: of IMAP, now."""

    filters: int = 0
    sessions: int = 0
    counts: Mapping[str, Count] = field(default_factory=dict)


def _keys(user: str) -> dict[str, str]:
    """By the names of `Limits`."""
    return {
        "recipients": recipients_key(user),
        "forwards": forwards_key(user),
        "received_max": f"received:{user}",
        "imap_max_upload": f"imap:upload:{user}",
        "imap_max_download": download_key("imap", user),
        "pop3_max_download": download_key("pop3", user),
    }


class Usages:
    def __init__(self, counters: Counters, filters: Filters, traffic: Traffic, connections: Connections) -> None:
        self._counters = counters
        self._filters = filters
        self._traffic = traffic
        self._connections = connections

    async def of(self, user: str, by: Principal) -> Usage:
        """Raises: NotPermitted, Unavailable."""
        require_account(by, user)
        keys = _keys(user)
        await self._traffic.flush()
        counts = await asyncio.gather(*(self._counters.get(key) for key in keys.values()))
        filters, sessions = await self._filters.number(user), await self._connections.used(user)
        return Usage(filters, sessions, dict(zip(keys, counts, strict=True)))

    async def begin_anew(self, user: str, limits: frozenset[str], by: Principal) -> None:
        """The counters of these limits, by their names, as after a change of them. Raises: NotPermitted."""
        require_account(by, user)
        for limit, key in _keys(user).items():
            if limit in limits:
                await self._traffic.flush()  # of the day that is over now
                await self._counters.clear(key)
                self._traffic.forget(key)
