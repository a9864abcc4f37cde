"""SRS, the Sender Rewriting Scheme: what is forwarded leaves with a sender of this server, and its bounces come back.

A receiver looks for the forwarder in the SPF record of the envelope sender's domain (RFC 7208 §2.4, appendix D.1), and
does not find it there. So the sender becomes `SRS0=mac=day=domain=local@ours`: a bounce to it names the author, and
nobody but this server can have made it. Where the sender is another forwarder's already it becomes
`SRS1=mac=their domain=…@ours`, whose bounce goes back to that forwarder (the SRS0 and SRS1 of Mengle and Evans'
"Sender Rewriting Scheme"; there is no RFC).
"""

import hmac
import re
import time
from base64 import b32encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Protocol

from duckmail.errors import NotFound
from duckmail.model import address as addresses
from duckmail.model.envelope import Recipient
from duckmail.model.queue import Letter, Origin, QueuedMessage
from duckmail.model.rules import Rules

KEYS = "srs"  # what they are derived for
VALID_DAYS = 21  # a bounce that comes later is nobody's; queues give up after five days (RFC 5321 §4.5.4.1)
BOUNCES = 20  # a day to one address: a failure is one, and reports of delays are few
_DAY = 86_400
_MOST_DAYS = 32 * 32  # two characters; they begin again every 1,024 days
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
_MAC = 8  # characters, 40 bits
# What another server may have made of the case and the first separator.
_SRS0 = re.compile(r"srs0[=+-]([a-z2-7]{8})=([a-z2-7]{2})=([^=@]+)=(.+)", re.IGNORECASE)
_SRS1 = re.compile(r"srs1[=+-]([a-z2-7]{8})=([^=@]+)=([=+-].+)", re.IGNORECASE)
_OTHERS0 = re.compile(r"srs0([=+-].+)", re.IGNORECASE)
_OTHERS1 = re.compile(r"srs1[=+-][^=]+=([^=@]+)=([=+-].+)", re.IGNORECASE)
_ATOMS = re.compile(r"[^\s\"(),:;<>@\[\\\]\x00-\x1f\x7f]+")  # what needs no quotes


class Domains(Protocol):
    """What is needed of `duckmail.services.recipients.Resolver`."""

    async def is_local(self, domain: str, /) -> bool: ...


class Srs:
    """`domain`: of rewritten senders; mail for it comes to this server. `keys`: the first one signs, all verify."""

    def __init__(self, domain: str, keys: Callable[[], Sequence[bytes]], now: Callable[[], float] = time.time) -> None:
        self.domain = addresses.normalise_domain(domain)
        self._keys = keys
        self._now = now

    def rewritten(self, sender: str) -> str:
        """The sender of what is forwarded; as it is where it is null, ours, or too unusual to be put into another."""
        local, domain = addresses.split(sender)
        if not sender or addresses.normalise_domain(domain) == self.domain:
            return sender
        if not domain or "=" in domain or "@" in local or not _ATOMS.fullmatch(local):
            return sender
        if found := _OTHERS1.fullmatch(local):
            made = self._srs1(found[1], found[2])
        elif found := _OTHERS0.fullmatch(local):
            made = self._srs1(domain, found[1])
        else:
            day = _day(self._now())
            made = f"SRS0={self._macs(day, domain, local)[0]}={day}={domain}={local}"
        address = f"{made}@{self.domain}"
        return address if len(address.encode()) <= addresses.MAX_ADDRESS else sender

    def recipient(self, address: str) -> Recipient | None:
        """Of an address that bounces come to, which go on to who wrote; None: it is none of this scheme and domain.

        Raises: NotFound: it looks like one and is forged, or too old.
        """
        original = self.original(address)
        if original is None:
            return None
        name = sha256(address.lower().encode()).hexdigest()[:24]
        return Recipient(
            address, f"srs:{name}", targets=(original,), bounces=True, rules=Rules(forwards=BOUNCES, address=address)
        )

    def original(self, address: str) -> str | None:
        """Who a bounce to `address` is for; None: that is no address of this scheme and domain.

        Raises: NotFound: it looks like one and is forged, or too old.
        """
        local, domain = addresses.split(address)
        if addresses.normalise_domain(domain) != self.domain or not local.lower().startswith(("srs0", "srs1")):
            return None
        if found := _SRS0.fullmatch(local):
            mac, day, host, name = found.groups()
            if self._verifies(mac, day, host, name) and self._fresh(day):
                return f"{name}@{host}"
        elif found := _SRS1.fullmatch(local):
            mac, host, rest = found.groups()
            if self._verifies(mac, host, rest):
                return f"SRS0{rest}@{host}"
        raise NotFound("No such recipient here")

    def _srs1(self, host: str, rest: str) -> str:
        return f"SRS1={self._macs(host, rest)[0]}={host}={rest}"

    def _verifies(self, mac: str, *parts: str) -> bool:
        return any([hmac.compare_digest(mac.lower(), each) for each in self._macs(*parts)])

    def _macs(self, *parts: str) -> list[str]:
        # Others may have changed the case of letters.
        named = "\0".join(part.lower() for part in parts).encode("utf-8", "surrogateescape")
        return [b32encode(hmac.digest(key, named, sha256))[:_MAC].decode().lower() for key in self._keys()]

    def _fresh(self, day: str) -> bool:
        then = _DIGITS.index(day[0].lower()) * 32 + _DIGITS.index(day[1].lower())
        # One day ahead is midnight by another host's clock.
        return (int(self._now() // _DAY) + 1 - then) % _MOST_DAYS <= VALID_DAYS + 1


class SenderRewriting:
    """Gives forwarded messages their sender on the way to mail exchangers; `srs` None: it stays what it is."""

    def __init__(self, srs: Srs | None, domains: Domains) -> None:
        self._srs = srs
        self._domains = domains

    async def letter(self, message: QueuedMessage, letter: Letter) -> Letter:
        """`letter` as other servers get it. Raises: Unavailable."""
        sender = letter.envelope.sender
        if self._srs is None or message.origin is not Origin.FORWARD or not sender:
            return letter
        # Mail of a domain here comes from a host that its SPF record names.
        if await self._domains.is_local(addresses.split(sender)[1]):
            return letter
        return replace(letter, envelope=replace(letter.envelope, sender=self._srs.rewritten(sender)))


def _day(now: float) -> str:
    number = int(now // _DAY) % _MOST_DAYS
    return _DIGITS[number // 32] + _DIGITS[number % 32]
