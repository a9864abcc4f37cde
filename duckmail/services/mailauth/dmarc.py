"""DMARC (RFC 9989): the policy of the author's domain, found by walking up the tree of DNS, and what aligns with it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from duckmail.errors import NotFound, Unavailable
from duckmail.model.mailauth import DkimResult, DmarcResult, Published, SpfResult
from duckmail.services.mailauth.lookups import Lookups

MAX_LABELS = 7  # RFC 9989 §4.10: of a longer name the walk goes on with so many
_POLICIES = ("none", "quarantine", "reject")
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")


@dataclass(frozen=True, slots=True)
class Record:
    """A policy record (§4.7). `sub`, `missing`: for subdomains, and for those that do not exist; "" not given.

    `reports`: the value of rua."""

    policy: str
    sub: str = ""
    missing: str = ""
    strict_dkim: bool = False
    strict_spf: bool = False
    psd: str = "u"
    testing: bool = False
    reports: str = ""

    def published(self, domain: str) -> Published:
        return Published(
            domain,
            self.policy,
            self.sub,
            self.missing,
            self.strict_dkim,
            self.strict_spf,
            self.testing,
            reports="mailto:" in self.reports.lower(),
        )


def is_record(text: str) -> bool:
    """Whether it begins as one."""
    return _VERSION.match(text) is not None


def read(texts: Sequence[str]) -> Record | None:
    """The one record among the TXT records of a name. `pct` of earlier days is ignored, as is what is not known."""
    records = [text for text in texts if is_record(text)]
    if len(records) != 1:
        return None  # §4.10: several are none
    found: dict[str, str] = {}
    for spec in records[0].split(";"):
        name, _, value = spec.partition("=")
        found.setdefault(name.strip(" \t").lower(), value.strip(" \t"))
    policy, sub, missing = (found.get(name, "").lower() for name in ("p", "sp", "np"))
    if policy not in _POLICIES or any(each and each not in _POLICIES for each in (sub, missing)):
        # §4.10.1: who asks for reports at least is taken to want none; otherwise there is no policy.
        if "mailto:" not in found.get("rua", "").lower():
            return None
        policy, sub, missing = "none", "", ""
    return Record(
        policy,
        sub,
        missing,
        found.get("adkim", "r").lower() == "s",
        found.get("aspf", "r").lower() == "s",
        found.get("psd", "u").lower(),
        found.get("t", "n").lower() == "y",
        found.get("rua", ""),
    )


async def walk(lookups: Lookups, domain: str) -> list[tuple[str, Record]]:
    """The records of `domain` and above it, from the bottom up (§4.10 DNS Tree Walk). Raises: Unavailable."""
    labels = domain.split(".")
    found: list[tuple[str, Record]] = []
    first = True
    while labels:
        name = ".".join(labels)
        record = read(await lookups.texts(f"_dmarc.{name}"))
        if record is not None:
            found.append((name, record))
            if record.psd == "n" or (record.psd == "y" and not first):
                break
        first = False
        labels = labels[-MAX_LABELS:] if len(labels) > MAX_LABELS + 1 else labels[1:]
    return found


def organizational(domain: str, records: Sequence[tuple[str, Record]]) -> str:
    """§4.10.2: of a walk that began at `domain`; that itself where nothing is published."""
    for name, record in records:
        if record.psd == "n":
            return name
        if record.psd == "y" and name != domain:
            # One label below the public suffix.
            labels = domain.split(".")
            return ".".join(labels[-(name.count(".") + 2) :])
    return records[-1][0] if records else domain


async def check(
    lookups: Lookups, domain: str, dkim: Sequence[DkimResult], spf: SpfResult | None, *, spf_unknown: bool = False
) -> DmarcResult | None:
    """`domain`: of the author, as DNS has it. `spf_unknown`: SPF could have passed, had the client been known; without
    anything that passes there is then no result."""
    try:
        records = await walk(lookups, domain)
        own = organizational(domain, records)
        # §4.10.1: the record of the domain itself, else of its organizational domain, else of the public suffix.
        by_name = dict(records)
        name = next((each for each in (domain, own) if each in by_name), records[-1][0] if records else "")
        if not name:
            return DmarcResult("none", domain)
        record = by_name[name]
        policy, published = await _policy(lookups, domain, record, domain in by_name), record.published(name)
        signed = [(each.domain, record.strict_dkim) for each in dkim if each.result == "pass"]
        sent = [(spf.domain, record.strict_spf)] if spf is not None and spf.result == "pass" else []
        aligned = [await _aligned(lookups, domain, own, each) for each in (signed, sent)]
        if any(aligned):
            return DmarcResult("pass", domain, policy, published, *aligned)
    except Unavailable:
        return DmarcResult("temperror", domain)
    if any(each.result == "temperror" for each in dkim) or (spf is not None and spf.result == "temperror"):
        return DmarcResult("temperror", domain, policy)
    return None if spf_unknown else DmarcResult("fail", domain, policy, published)


async def _policy(lookups: Lookups, domain: str, record: Record, own: bool) -> str:
    policy = record.policy
    if not own:
        policy = record.sub or policy
        if record.missing and not await _exists(lookups, domain):
            policy = record.missing
    if record.testing:
        # §4.7 t=y: the policy below the one that is published.
        policy = _POLICIES[max(0, _POLICIES.index(policy) - 1)]
    return policy


async def _exists(lookups: Lookups, domain: str) -> bool:
    """RFC 8020: a name that gives NXDOMAIN has nothing below it either."""
    try:
        await lookups.records(domain, "A")
    except NotFound:
        return False
    return True


async def _aligned(lookups: Lookups, domain: str, own: str, passed: Sequence[tuple[str, bool]]) -> bool:
    """Whether a domain that passed is of the author's organization, or, where it must be (strict), the very domain."""
    if any(name == domain for name, _ in passed):
        return True
    for name in dict.fromkeys(name for name, strict in passed if not strict):
        # Both have the same organizational domain, which is then above or equal to the name: only such are asked.
        if (name == own or name.endswith("." + own)) and organizational(name, await walk(lookups, name)) == own:
            return True
    return False
