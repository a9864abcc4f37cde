"""How many connections there may be: in all, per network, per user.

Counted in this process; those of a network in all processes as well, where these are asked. What this process has is
looked at first, and without Redis it is all that counts (P5).
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
            everywhere: counts those of a network in all processes.
        """
        self._total = total
        self._per_network = per_network
        self._per_user = per_user
        self._wide = wide
        self._exempt = exempt or Networks()
        self._everywhere = everywhere
        self._connections = 0
        self._networks: Counter[str] = Counter()
        self._users: Counter[str] = Counter()

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
        """A place for one connection of the peer's network, which it has until the context ends. Raises LimitReached.

        What this process has is too much already: then the others need not be asked. They are for a fraction of a
        second at most, and whoever has heard nothing by then has a place.
        """
        if not self._per_network or peer.unix or peer in self._exempt:
            return ExitStack()
        network = f"wide {peer.wide_network}" if self._wide else f"net {peer.network}"
        text = "Too many connections from your network"
        with ExitStack() as place:
            place.enter_context(_counted(self._networks, network, self._per_network, "network", text))
            if self._everywhere is not None:
                try:
                    place.enter_context(await self._everywhere.take(network, self._per_network))
                except LimitReached:
                    metrics.REFUSED["network"].inc()
                    raise LimitReached(text, limit=self._per_network) from None
            return place.pop_all()

    @contextmanager
    def user(self, user_id: str) -> Iterator[None]:
        """Count one session of the account while the block runs; entered after login. Raises LimitReached."""
        with _counted(self._users, user_id, self._per_user, "user", "Too many connections of this account"):
            yield


@contextmanager
def _counted(counts: Counter[str], key: str, limit: int, reason: str, text: str) -> Iterator[None]:
    if limit and counts[key] >= limit:
        metrics.REFUSED[reason].inc()
        raise LimitReached(text, limit=limit)
    counts[key] += 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:  # keys come from clients: none may stay behind
            del counts[key]
