"""Who a message is from, as far as that can be checked: the results of the methods, in the words of RFC 8601 §2.7."""

from dataclasses import dataclass, field, replace

from duckmail.model.spam import FLAGGED, Spam


@dataclass(frozen=True, slots=True)
class SpfResult:
    """`scope`: `mailfrom` or `helo`; `identity`: what was checked of it; `domain`: of it. `address`: the client's, ""
    where a relay found the result."""

    result: str
    scope: str = "mailfrom"
    identity: str = ""
    domain: str = ""
    address: str = ""
    helo: str = ""


@dataclass(frozen=True, slots=True)
class DkimResult:
    """`start`: the first characters of b=, which tell signatures apart (RFC 6008)."""

    result: str
    reason: str = ""
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    start: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A policy record as it is (RFC 9989 §4.7). `domain`: whose it is. `sub`, `missing`: for subdomains, and for those
    that do not exist; "" not given. `reports`: aggregate ones are wanted."""

    domain: str
    policy: str
    sub: str = ""
    missing: str = ""
    strict_dkim: bool = False
    strict_spf: bool = False
    testing: bool = False
    reports: bool = False


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """`policy`: what the author's domain wants done with what fails: `none`, `quarantine`, `reject`; "" unknown.

    `published`: where that comes from. `dkim`, `spf`: passed, and aligned."""

    result: str
    domain: str = ""
    policy: str = ""
    published: Published | None = field(default=None, compare=False)
    dkim: bool = field(default=False, compare=False)
    spf: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class ArcResult:
    """`sealers`: the domains of the seals, from the first to the last hop."""

    result: str
    sealers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IprevResult:
    result: str
    address: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Authentication:
    """What was found; None where a method could not be applied."""

    dkim: tuple[DkimResult, ...] = ()
    spf: SpfResult | None = None
    dmarc: DmarcResult | None = None
    arc: ArcResult | None = None
    iprev: IprevResult | None = None

    def judged(self, spam: Spam, sealers: frozenset[str]) -> Spam:
        """`spam`, and at least flagged when the domain of the author disowns the message.

        `sealers`: whose word is taken that it was in order when they got it (RFC 8617 §7.2).
        """
        return replace(spam, score=max(spam.score, FLAGGED)) if self.disowned(sealers) else spam

    def disowned(self, sealers: frozenset[str]) -> str:
        """What the author's domain wants done with the message, that is none of its own: `quarantine`, `reject`, or ""
        for nothing. `sealers`: as `judged` has them."""
        dmarc, arc = self.dmarc, self.arc
        if dmarc is None or dmarc.result != "fail" or dmarc.policy not in {"quarantine", "reject"}:
            return ""
        if arc is not None and arc.result == "pass" and arc.sealers and sealers.issuperset(arc.sealers):
            return ""
        return dmarc.policy

    def proves(self, sender: str) -> bool:
        """Whether the message comes from where its reverse-path says, so that a report to it bothers nobody else: SPF
        has passed for it, or a signature of its very domain."""
        domain = sender.rpartition("@")[2].lower()
        if not domain:
            return False
        spf = self.spf
        if spf is not None and spf.result == "pass" and spf.scope == "mailfrom":
            return True
        return any(each.result == "pass" and each.domain.lower() == domain for each in self.dkim)
