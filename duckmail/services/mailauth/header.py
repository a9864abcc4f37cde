"""What was found, as header lines: Authentication-Results (RFC 8601) and Received-SPF (RFC 7208 §9.1)."""

import re
from collections.abc import Iterator

from duckmail.mime.dkimverify import MAX_SIGNATURES
from duckmail.model.mailauth import Authentication, DkimResult, SpfResult

ROOM = 2400  # octets of Authentication-Results; what does not fit of the signatures is left out
_VALUE = 320  # characters of one value: a long domain with what is before it
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")  # RFC 2045 §5.1
# What would end a value, also for those who look for results by simple means.
_UNSAFE = re.compile(r'[\x00-\x20\x7f"\\;=()]')


def authentication_results(server: str, found: Authentication) -> bytes:
    """The field with its line end. `server`: authserv-id."""
    dkim = sorted(found.dkim, key=lambda each: each.result != "pass")
    for number in range(min(len(dkim), MAX_SIGNATURES), -1, -1):
        parts = [*_before(found), *map(_dkim, dkim[:number]), *_after(found)]
        if not dkim:
            parts.append("dkim=none")
        lines = f"Authentication-Results: {server};\r\n\t" + ";\r\n\t".join(parts) + "\r\n"
        if len(octets := lines.encode("utf-8", "replace")) <= ROOM:
            return octets
    return b""


def _before(found: Authentication) -> Iterator[str]:
    if found.iprev is not None:
        name = f" ({_comment(found.iprev.name)})" if found.iprev.name else ""
        yield f"iprev={found.iprev.result}{name} policy.iprev={_value(found.iprev.address)}"
    if found.spf is not None:
        yield f"spf={found.spf.result} smtp.{found.spf.scope}={_value(found.spf.identity)}"


def _after(found: Authentication) -> Iterator[str]:
    if found.dmarc is not None:
        policy = f" (p={found.dmarc.policy})" if found.dmarc.policy else ""
        domain = f" header.from={_value(found.dmarc.domain)}" if found.dmarc.domain else ""
        yield f"dmarc={found.dmarc.result}{policy}{domain}"
    if found.arc is not None:
        yield f"arc={found.arc.result}"


def _dkim(result: DkimResult) -> str:
    words = [f"dkim={result.result}"]
    if result.reason:
        words.append(f'reason="{_comment(result.reason)}"')
    named = (("d", result.domain), ("s", result.selector), ("a", result.algorithm), ("b", result.start))
    words += [f"header.{name}={_value(value)}" for name, value in named if value]
    return " ".join(words)


def received_spf(server: str, found: SpfResult) -> bytes:
    """The field with its line end."""
    values = [("client-ip", found.address), ("helo", found.helo), ("identity", found.scope)]
    if found.scope == "mailfrom":
        values.insert(1, ("envelope-from", found.identity))
    # RFC 7208 §9.1: key-value pairs, dot-atoms or quoted strings.
    pairs = "; ".join(f"{key}={_value(value)}" for key, value in [*values, ("receiver", server)] if value)
    return f"Received-SPF: {found.result}\r\n\t{pairs}\r\n".encode("utf-8", "replace")


def _value(text: str) -> str:
    """A value (RFC 8601 §2.2), that can end neither its string nor its line."""
    text = text[:_VALUE]
    if _TOKEN.fullmatch(text):
        return text
    local, at, domain = text.rpartition("@")
    if at and _TOKEN.fullmatch(local or "x") and _TOKEN.fullmatch(domain):
        return text
    return '"' + _UNSAFE.sub("?", text) + '"'


def _comment(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9 .:_-]", "?", text[:_VALUE])
