"""What a DMARC aggregate report counts (RFC 9990): messages that had the same evaluation."""

from dataclasses import dataclass

from duckmail.model.mailauth import Authentication, Published

MOST_OCTETS = 253  # of a name from a message


@dataclass(frozen=True, slots=True)
class Method:
    """A result of SPF or DKIM. `detail`: the scope of SPF (`mfrom`, `helo`), the selector of DKIM."""

    domain: str
    detail: str
    result: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`source`: the address that the message came from. `disposition`: `none`, `pass`, `quarantine`, `reject`. `dkim`,
    `spf`: passed, and aligned. `author`, `sender`: domains of From and of MAIL FROM. `override`: why the disposition is
    not what the policy says (RFC 9990 §3.1.1.10), "" if it is. `path`: the result of SPF, None where there is none.
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
            if each.domain
        ),
        path=Method(spf.domain[:MOST_OCTETS], "mfrom" if spf.scope == "mailfrom" else "helo", spf.result)
        if spf
        else None,
    )
