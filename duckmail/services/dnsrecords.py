"""What a domain has to publish in DNS for its mail to arrive and to be believed, and what it does publish."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Protocol

from duckmail.errors import InvalidInput, Unavailable
from duckmail.model.address import ascii_domain, normalise_domain
from duckmail.services.dkim import keys
from duckmail.services.dkim.dkim import DEFAULT, record_name, signing
from storage.dkim import SigningDomain

_STRING = 255  # octets of one string in a TXT record (RFC 1035 §3.3)


class State(Enum):
    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # DNS did not answer


@dataclass(frozen=True, slots=True)
class Record:
    """`kind`: MX, TXT, SRV, A, CNAME, PTR, TLSA, or URL for what is no record. `value`: as `Lookup` gives it, of CNAME
    the host; "" for an address that only the administrator knows.

    `why`: what it is for. `needed`: mail suffers without it.
    """

    kind: str
    name: str
    value: str
    why: str
    needed: bool = True

    @property
    def line(self) -> str:
        """For a zone file; "" when the value is not known here."""
        if not self.value or self.kind == "URL":
            return ""
        value = self.value
        if self.kind == "TXT":
            text = value.replace("\\", "\\\\").replace('"', '\\"')
            value = " ".join(f'"{text[at : at + _STRING]}"' for at in range(0, len(text), _STRING))
        elif self.kind in ("MX", "SRV", "CNAME", "PTR"):
            value += "."
        return f"{self.name}. IN {self.kind} {value}"


@dataclass(frozen=True, slots=True)
class Checked:
    """`found`: what DNS has in its place."""

    record: Record
    state: State
    found: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Offered:
    """The server's host name, and the ports of TLS that clients are told; 0 for what is not offered.

    `web`: the host of the pages by which clients set themselves up, "" for none. `sts`: the id of our policy of
    MTA-STS, "" without one.
    """

    hostname: str
    imap: int
    pop3: int
    submission: int
    web: str = ""
    sts: str = ""


class Lookup(Protocol):
    async def records(self, name: str, kind: str, /) -> list[str]:
        """The values, names without a final dot; MX as `10 host`, SRV as `0 1 993 host`; [] for none.

        Raises: Unavailable.
        """
        ...


class KeyBook(Protocol):
    """What is needed of `storage.dkim.DkimRecords`."""

    async def find(self, domains: Sequence[str], /) -> dict[str, SigningDomain]: ...


class AliasBook(Protocol):
    """What is needed of `storage.addresses.Addresses`."""

    async def alias_target(self, domain: str, /) -> str | None: ...


class DomainRecords:
    def __init__(self, book: KeyBook, aliases: AliasBook, offered: Offered) -> None:
        self._book = book
        self._aliases = aliases
        self._offered = offered

    async def wanted(self, domain: str) -> list[Record]:
        """All that `domain` is to publish. Raises: InvalidInput: no domain. Unavailable."""
        try:
            name = ascii_domain(domain).lower()
        except ValueError as error:
            raise InvalidInput(f"{domain} is not a domain name") from error
        host = self._offered.hostname
        return [
            Record("A", host, "", "the address of this server"),
            Record("MX", name, f"10 {host}", "mail for the domain comes here"),
            Record("TXT", name, "v=spf1 mx -all", "SPF: mail of the domain comes from here"),
            *await self._keys(domain),
            # None, but reports: what is not aligned yet shows before it is refused.
            Record("TXT", f"_dmarc.{name}", f"v=DMARC1; p=none; rua=mailto:postmaster@{name}", "DMARC"),
            Record("TXT", f"_smtp._tls.{name}", f"v=TLSRPTv1; rua=mailto:postmaster@{name}", "TLS reports", False),
            *self._sts(name),
            *self._services(name),
            *self._setup(name),
        ]

    def _sts(self, name: str) -> list[Record]:
        """RFC 8461 §3.1: the record that announces the policy, and where it is."""
        own = self._offered.sts
        value = own or f"{datetime.now(UTC):%Y%m%d%H%M%S}"
        found = [Record("TXT", f"_mta-sts.{name}", f"v=STSv1; id={value}", "MTA-STS", False)]
        if own and self._offered.web:
            found.append(Record("CNAME", f"mta-sts.{name}", self._offered.web, "where the policy of MTA-STS is", False))
        return found

    def _setup(self, name: str) -> list[Record]:
        """Where Thunderbird and Outlook look for their settings."""
        host = self._offered.web
        if not host:
            return []
        return [
            Record("CNAME", f"autoconfig.{name}", host, "set-up of clients", False),
            Record("CNAME", f"autodiscover.{name}", host, "set-up of clients", False),
            Record("SRV", f"_autodiscover._tcp.{name}", f"0 1 443 {host}", "set-up of clients", False),
        ]

    async def _keys(self, domain: str) -> list[Record]:
        name = normalise_domain(domain.removesuffix("."))
        alias = await self._aliases.alias_target(name)
        wanted = [each for each in (name, alias, DEFAULT) if each]
        found = await self._book.find(wanted)
        chosen = next((found[each] for each in wanted if each in found), None)
        if chosen is None:
            return []
        now = datetime.now(UTC)
        signs = signing(chosen.keys, now)
        return [
            Record(
                "TXT",
                record_name(name, key.selector),
                keys.dns_value(key.algorithm, key.public),
                "DKIM"
                if key in signs
                else f"DKIM, from {key.since:%Y-%m-%d %H:%M} UTC on"
                if key.since > now
                else "DKIM, of signatures made before",
                key in signs or key.since > now,
            )
            for key in chosen.keys
        ]

    def _services(self, name: str) -> list[Record]:
        """RFC 6186 §3, RFC 8314 §5.1: where clients find the services."""
        offered = self._offered
        services = (("_imaps", offered.imap), ("_pop3s", offered.pop3), ("_submissions", offered.submission))
        return [
            Record("SRV", f"{service}._tcp.{name}", f"0 1 {port} {offered.hostname}", "set-up of clients", False)
            for service, port in services
            if port
        ]


async def check(record: Record, lookup: Lookup) -> Checked:
    """What DNS says instead."""
    try:
        if record.kind == "CNAME":
            return await _leading(record, lookup)
        found = await lookup.records(record.name, record.kind)
        if record.kind == "A":
            found += await lookup.records(record.name, "AAAA")
    except Unavailable as error:
        return Checked(record, State.UNKNOWN, problem=error.text)
    if record.kind == "TXT":
        version = record.value.partition(";")[0].partition(" ")[0]
        return _text(record, [value for value in found if _version(value) == version.lower()])
    if not found:
        return Checked(record, State.MISSING)
    # Another preference, or another host beside ours, is nobody's mistake: the host counts, and of SRV its port.
    ours = _target(record.kind, record.value)
    if record.kind == "A" or any(_target(record.kind, value) == ours for value in found):
        return Checked(record, State.OK, tuple(found))
    return Checked(record, State.WRONG, tuple(found), f"it does not name {' '.join(reversed(ours))}")


async def _leading(record: Record, lookup: Lookup) -> Checked:
    """A name that is to have the addresses of another, by whatever records. Raises: Unavailable."""
    found, ours = [
        [*await lookup.records(name, "A"), *await lookup.records(name, "AAAA")] for name in (record.name, record.value)
    ]
    if not found:
        return Checked(record, State.MISSING)
    if not ours or not set(ours).isdisjoint(found):
        return Checked(record, State.OK, tuple(found))
    return Checked(record, State.WRONG, tuple(found), f"it does not lead to {record.value}")


def _target(kind: str, value: str) -> list[str]:
    return value.lower().split(" ")[-2 if kind == "SRV" else -1 :]


def _version(value: str) -> str:
    return value.partition(";")[0].partition(" ")[0].strip().lower()


def _text(record: Record, found: list[str]) -> Checked:
    if not found:
        return Checked(record, State.MISSING)
    problem = ""
    if len(found) > 1:
        # RFC 7208 §4.5, and the others alike: with more than one record there is none.
        problem = "there is more than one"
    elif record.why.startswith("DKIM"):
        theirs, ours = _tags(found[0]), _tags(record.value)
        if (theirs.get("p"), theirs.get("k", "rsa")) != (ours["p"], ours.get("k", "rsa")):
            problem = "it is revoked" if not theirs.get("p") else "it has another key"
    elif record.why.startswith("SPF"):
        terms = [term.lstrip("+") for term in found[0].lower().split()[1:]]
        if not any(term.partition(":")[0].partition("/")[0].partition("=")[0] in _ALLOWING for term in terms):
            problem = "it allows nobody"
    elif record.why == "DMARC" and _tags(found[0]).get("p") not in ("none", "quarantine", "reject"):
        problem = "it has no policy"
    elif record.why == "MTA-STS" and not _tags(found[0]).get("id"):
        problem = "it has no id"
    elif record.why == "TLS reports" and not _tags(found[0]).get("rua"):
        problem = "it has no rua"
    return Checked(record, State.WRONG if problem else State.OK, tuple(found), problem)


_ALLOWING = frozenset({"mx", "a", "ip4", "ip6", "include", "exists", "redirect"})


def _tags(value: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in value.split(";") if "=" in part)
    return {name.strip().lower(): "".join(text.split()) for name, _, text in pairs}
