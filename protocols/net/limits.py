"""How many connections there may be: in all, per network, per user.

Counted in this process; those of a network or a user in all processes as well, where these are asked. What this process
has is looked at first, and without Redis it is all that counts (P5).
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from duckmail.errors import LimitReached
from duckmail.runtime import metrics
from duckmail.services.connections import Connections
from protocols.net.peer import Networks, Peer


class Limits:
    """Counts connections; 0 means no limit. Shared by all listeners of the process, or of one protocol."""

    def __init__(
        self,
        total: int,
        per_network: int = 0,
        per_user: int = 0,
        exempt: Networks | None = None,
        *,
        wide: bool = False,
        everywhere: Connections | None = None,
    ) -> None:
        """
        Args:
            total: connections of this process at the same time, refused ones not counted: its files and its memory are
                what they use up.
            per_network: per /32 or /64 (`Peer.network`).
            per_user: sessions of one account.
            wide: `per_network` is per /24 or /64 (`Peer.wide_network`).
            exempt: peers without a limit per network, such as the relay that delivers everybody's mail. A unix socket
                has no network.
            everywhere: counts those of a network or a user in all processes.
        """
        self._total = total
        self._per_network = per_network
        self._per_user = per_user
        self._wide = wide
        self._exempt = exempt or Networks()
        self._everywhere = everywhere
        self._connections = 0
        self._counts: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """Connections counted now."""
        return self._connections

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Count one connection while the block runs. Raises LimitReached."""
        if self._total and self._connections >= self._total:
            metrics.REFUSED["total"].inc()
            raise LimitReached("Too many connections", total=self._total)
        self._connections += 1
        try:
            yield
        finally:
            self._connections -= 1

    async def network(self, peer: Peer) -> ExitStack:
        """A place for one connection of the peer's network, which it has until the context ends.

        Raises: LimitReached.
        """
        if peer.unix or peer in self._exempt:
            return ExitStack()
        network = f"wide {peer.wide_network}" if self._wide else f"net {peer.network}"
        return await self._place(network, self._per_network, "network", "Too many connections from your network")

    async def user(self, user_id: str) -> ExitStack:
        """A place for one session of the account, which it has until the context ends; asked for after login.

        Raises: LimitReached.
        """
        return await self._place(f"all {user_id}", self._per_user, "user", "Too many connections of this account")

    async def _place(self, unit: str, limit: int, reason: str, text: str) -> ExitStack:
        """What this process has is too much already: then the others need not be asked. They are for a fraction of a
        second at most, and whoever has heard nothing by then has a place."""
        if not limit:
            return ExitStack()
        try:
            with ExitStack() as place:
                place.enter_context(self._counted(unit, limit))
                if self._everywhere is not None:
                    place.enter_context(await self._everywhere.take(unit, limit))
                return place.pop_all()
        except LimitReached:
            metrics.REFUSED[reason].inc()
            raise LimitReached(text, limit=limit) from None

    @contextmanager
    def _counted(self, unit: str, limit: int) -> Iterator[None]:
        if self._counts[unit] >= limit:
            raise LimitReached("Too many in this process")
        self._counts[unit] += 1
        try:
            yield
        finally:
            self._counts[unit] -= 1
            if not self._counts[unit]:  # keys come from clients: none may stay behind
                del self._counts[unit]
