"""DNS for one message: what was asked is remembered, and both number and time are bounded."""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Protocol

from duckmail.errors import NotFound, Unavailable

MAX_QUESTIONS = 200  # of one message; SPF alone may need more than 100 (RFC 7208 §4.6.4)
_NAME = re.compile(r"(?=.{1,253}\Z)[ -\-/-\[\]-~]{1,63}(?:\.[ -\-/-\[\]-~]{1,63})*")


class Resolver(Protocol):
    """What is needed of `duckmail.clients.dns.Dns`."""

    async def answers(self, name: str, kind: str, /) -> Sequence[str]:
        """`kind`: A, AAAA, MX (`10 host`), PTR or TXT (its strings joined, as Latin-1); [] when there are none.

        Raises: NotFound: no such name. Unavailable: no clear answer for now.
        """


class Lookups:
    """`seconds`: from now on; what is asked later has no answer."""

    def __init__(self, resolver: Resolver, seconds: float) -> None:
        self._resolver = resolver
        self._ends = time.monotonic() + seconds
        self._known: dict[tuple[str, str], Sequence[str] | NotFound | Unavailable] = {}

    async def records(self, name: str, kind: str) -> Sequence[str]:
        """As `Resolver.answers`."""
        name = name.removesuffix(".").lower()
        if not _NAME.fullmatch(name):
            raise NotFound("Not a name")
        known = self._known.get((name, kind))
        if known is None:
            known = self._known[name, kind] = await self._ask(name, kind)
        if isinstance(known, NotFound | Unavailable):
            raise known
        return known

    async def _ask(self, name: str, kind: str) -> Sequence[str] | NotFound | Unavailable:
        left = self._ends - time.monotonic()
        if left <= 0 or len(self._known) >= MAX_QUESTIONS:
            return Unavailable("Too much to ask")
        try:
            async with asyncio.timeout(left):
                return await self._resolver.answers(name, kind)
        except TimeoutError:
            return Unavailable("DNS does not answer in time")
        except (NotFound, Unavailable) as error:
            return error

    async def texts(self, name: str) -> Sequence[str]:
        """TXT records; none where there is no such name. Raises: Unavailable."""
        try:
            return await self.records(name, "TXT")
        except NotFound:
            return ()
