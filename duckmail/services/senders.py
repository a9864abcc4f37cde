"""Who may send as what: an account's own addresses, what forwards to it, and the patterns it was given.

The same holds for the envelope, From and Sender. What is not allowed is refused, or the account's main address takes
its place, as configured.
"""

from functools import lru_cache

from duckmail.errors import InvalidInput, NotPermitted
from duckmail.mime import outgoing
from duckmail.mime.outgoing import Malformed, Outgoing
from duckmail.model import address as addresses
from duckmail.model.account import User
from duckmail.services.recipients import Resolver

MAX_TARGETS = 100  # of a forwarded address that are looked at
_LISTS_KEPT = 256  # lists of patterns whose parts are remembered; a list has at most 1,000


class Senders:
    """`rewrite`: the main address takes the place of what is not allowed."""

    def __init__(self, resolver: Resolver, rewrite: bool = False) -> None:
        self._resolver = resolver
        self._rewrite = rewrite

    async def reverse_path(self, user: User, address: str) -> str:
        """The reverse-path of a message for which the account gave `address`.

        Raises:
            NotPermitted, Unavailable.
        """
        return address if await self.allows(user, address) else self._instead_of(user, address)

    async def replacement(self, user: User, known: str, message: Outgoing, name: bytes) -> bytes | None:
        """The lines that take the place of From or Sender (`name`, lower case), None for what was sent.

        `known`: an address that is allowed.

        Raises:
            InvalidInput: it is missing, or there are several, or it can be read in several ways.
            NotPermitted, Unavailable.
        """
        title = name.decode().capitalize()
        bodies = message.bodies(name)
        # RFC 5322 §3.6: one From, at most one Sender. Of two, each program shows another one.
        if len(bodies) > 1:
            raise InvalidInput(f"The message has {len(bodies)} {title} fields")
        if not bodies:
            if name == b"from":
                raise InvalidInput("The message has no From field")
            return None
        foreign = await self._foreign(user, known, bodies[0], title)
        if foreign is None:
            return None
        body = outgoing.with_address(bodies[0], self._instead_of(user, foreign))
        original = next(message.header[field.body : field.end] for field in message.fields if field.name == name)
        return b"%s: %s\r\nX-Original-%s:%s" % (title.encode(), body, title.encode(), original)

    async def _foreign(self, user: User, known: str, body: bytes, title: str) -> str | None:
        """The first address that the account may not send as, None when there is none."""
        try:
            named = dict.fromkeys(outgoing.mailboxes(body))
        except Malformed as error:
            if self._rewrite:
                return ""
            raise InvalidInput(f"{title} is malformed: {error}") from None
        for address in named:
            if address != known and not await self.allows(user, address):
                return address
        return None

    def _instead_of(self, user: User, address: str) -> str:
        """Raises: NotPermitted."""
        if self._rewrite and user.address:
            return user.address
        raise NotPermitted(f"You may not send as <{address}>", user=user.id)

    async def allows(self, user: User, address: str) -> bool:
        """Whether the account may send as this address, in the envelope or in From.

        An address is its own when mail to it would be delivered to the account: labels, alias domains and wildcards
        count. The members of a forwarded address may send as that. Patterns: see `matches`.

        Raises:
            Unavailable: nobody can say now.
        """
        if await self._is_own(user, address):
            return True
        return matches(user.from_whitelist, address)

    async def reachable(self, address: str) -> bool:
        """Whether its domain can be one of mail: of two labels or more, or with mail here. Raises: Unavailable."""
        domain = addresses.split(address)[1]
        return "." in domain or await self._resolver.is_local(domain)

    async def _is_own(self, user: User, address: str) -> bool:
        # A wildcard for all domains gets `postmaster` of each domain here, not that of domains of others.
        if not await self._resolver.is_local(addresses.split(address)[1]):
            return False
        record = await self._resolver.resolve(address)
        if record is None:
            return False
        if record.user:
            return record.user == user.id
        for target in record.targets[:MAX_TARGETS]:
            found = await self._resolver.resolve(target)
            if found is not None and found.user == user.id:
                return True
        return False


def matches(patterns: tuple[str, ...], address: str) -> bool:
    """Whether the address is what one of the patterns of `User.from_whitelist` says.

    `*` stands for any signs: on either side of the `@` for signs of that side, without an `@` for any. H8: matched from
    the first sign to the last; H6: in linear time.
    """
    local, domain = addresses.split(addresses.normalise(address))
    whole = f"{local}@{domain}"
    plain, starred = _compiled(patterns)
    if whole in plain:
        return True
    for wanted_local, at, wanted_domain in starred:
        if _glob(wanted_domain, domain) and _glob(wanted_local, local) if at else _glob(wanted_local, whole):
            return True
    return False


@lru_cache(_LISTS_KEPT)
def _compiled(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[tuple[str, bool, str], ...]]:
    """The addresses among the patterns, and the others as (local part, whether there is an `@`, domain); all in one
    spelling with addresses."""
    split = [(*addresses.split(addresses.normalise(pattern)), pattern) for pattern in patterns]
    plain = frozenset(f"{local}@{domain}" for local, domain, pattern in split if "*" not in pattern)
    return plain, tuple((local, "@" in pattern, domain) for local, domain, pattern in split if "*" in pattern)


def _glob(pattern: str, text: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True
