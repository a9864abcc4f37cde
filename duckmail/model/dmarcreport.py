"""What a DMARC aggregate report counts (RFC 9990): messages that had the same evaluation."""

from dataclasses import dataclass

from duckmail.model.mailauth import Authentication, DmarcResult, Published

MOST_OCTETS = 253  # of a name from a message


@dataclass(frozen=True, slots=True)
class Method:
    """A result of SPF or DKIM. `detail`: the scope of SPF, the selector of DKIM."""

    domain: str
    detail: str
    result: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`source`: the address that the message came from. `disposition`: `none`, `pass`, `quarantine`, `reject`. `dkim`,
    `spf`: passed, and aligned. `author`, `sender`: domains of From and of MAIL FROM. `override`: why the disposition is
    not what the policy says (RFC 9990 §3.1.6), "" if it is. `path`: the result of SPF, None where there is none.
    """

    published: Published
    source: str
    disposition: str
    dkim: bool
    spf: bool
    author: str
    sender: str = ""
    override: str = ""
    signatures: tuple[Method, ...] = ()
    path: Method | None = None


def evaluated(found: Authentication, sender: str, done: str, disowned: str) -> Evaluated | None:
    """None for what is not reported: nobody wants to know, or nothing is known for certain.

    `sender`: of MAIL FROM. `done`: `quarantine`, `reject`, or "" for nothing. `disowned`: as `Authentication.disowned`.
    """
    dmarc = found.dmarc
    if dmarc is None or dmarc.published is None or not dmarc.published.reports:
        return None
    source = (found.spf.address if found.spf else "") or (found.iprev.address if found.iprev else "")
    if dmarc.result not in {"pass", "fail"} or not source:
        return None
    override = ""
    if dmarc.result == "fail" and done != dmarc.policy and dmarc.policy in {"quarantine", "reject"}:
        override = "local_policy" if disowned else "trusted_forwarder"
    elif dmarc.result == "fail" and _lowered(dmarc):
        override = "policy_test_mode"
    spf = found.spf
    return Evaluated(
        published=dmarc.published,
        source=source,
        disposition="pass" if dmarc.result == "pass" else done or "none",
        dkim=dmarc.dkim,
        spf=dmarc.spf,
        author=dmarc.domain,
        sender=sender.rpartition("@")[2].lower()[:MOST_OCTETS],
        override=override,
        signatures=tuple(
            Method(each.domain[:MOST_OCTETS], each.selector[:MOST_OCTETS], each.result)
            for each in found.dkim
            if each.domain and each.selector  # RFC 9990 §3.1.1.12: both are required
        ),
        # RFC 9990 §3.1.1.13: only MAIL FROM, which without a sender is postmaster of HELO (RFC 7208 §2.4).
        path=Method(spf.domain[:MOST_OCTETS], "mfrom", spf.result) if spf and spf.domain else None,
    )


def _lowered(dmarc: DmarcResult) -> bool:
    """Whether the domain asks for more than it wants done while it tests (RFC 9989 §4.7 t=y)."""
    published = dmarc.published
    if published is None or not published.testing:
        return False
    own = dmarc.domain == published.domain
    asked = {published.policy} if own else {published.sub or published.policy, published.missing or published.policy}
    return asked != {"none"}
