"""Greylisting (RFC 6647): a client that is not known is asked to come again, which what only sends spam seldom does.

What is known stands in the counters, in Redis or, without it, in memory: to lose it costs a delay, no mail.
"""

import hashlib

from duckmail.model.address import view
from duckmail.services.reception.caller import Caller
from duckmail.services.reception.errors import Greylisted
from duckmail.services.reception.gate import Counters

WAIT = 2 * 24 * 3600  # seconds in which a client may come again; RFC 6647 §4 has a day, weekends are longer
RETURNS = 2  # messages of a network that came again, until all of it is known


class Greylist:
    """`delay`: seconds until a message is taken that comes again, 0: no greylisting. `keep`: seconds for which who came
    again is known."""

    def __init__(self, counters: Counters, delay: float, keep: float) -> None:
        self._counters = counters
        self._delay = delay
        self._keep = int(keep)

    async def require_known(self, caller: Caller, sender: str, recipient: str) -> None:
        """Raises: Greylisted: it has to come again."""
        if not self._delay or caller.exempt:
            return
        # RFC 6647 §5: by network, since large senders try again from another host.
        network = f"mx:known:{caller.network}"
        if (await self._counters.get(network)).value >= RETURNS:
            return
        triplet = _triplet(caller, sender, recipient)
        if (await self._counters.get(f"mx:passed:{triplet}")).value:
            return
        seen = await self._counters.incr(f"mx:grey:{triplet}", WAIT)
        # A counter lives from the first time on, so how long it still has tells how long ago that was.
        if WAIT - seen.ttl < self._delay:
            raise Greylisted(network=caller.network)
        await self._counters.incr(f"mx:passed:{triplet}", self._keep)
        await self._counters.incr(network, self._keep)


def _triplet(caller: Caller, sender: str, recipient: str) -> str:
    text = "\0".join((caller.network, sender.lower(), view(recipient)))
    return hashlib.sha256(text.encode()).hexdigest()[:40]
