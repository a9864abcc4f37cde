"""Who gave the message to the first server that is ours, or that is trusted here.

- By the MX listener it is the peer itself.
- A relay in front says it by XFORWARD or XCLIENT, or in the Received field that it put on top.
- What else the header says could be anybody's: only fields above that one are believed (RFC 8601 §5).
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address

import authres

from duckmail.mime.header import Lookup, decode
from duckmail.model.envelope import Envelope
from duckmail.model.mailauth import SpfResult
from duckmail.model.network import is_public

MAX_INNER = 3  # Received fields of filters on the relay itself, that are looked past
MAX_FIELDS = 10  # Authentication-Results of the relay
MAX_VALUE = 8192  # octets of one field
# RFC 5321 §4.4 From-domain with TCP-info.
_FROM = re.compile(r"from\s+(\S{1,255})\s+\((?:[^()\[\]]{0,300})\[(?:IPv6:)?([0-9A-Fa-f.:]{2,45})\]", re.IGNORECASE)
_SIGNED_IN = re.compile(r"\bwith\s+(?:UTF8)?E?SMTPS?A\b", re.IGNORECASE)  # RFC 3848


@dataclass(frozen=True, slots=True)
class Client:
    """`address`: "" where it is not known, or is not on the Internet. `known`: somebody is named at all.
    `signed_in`: it has an account of the relay, and sends for that."""

    address: str = ""
    helo: str = ""
    known: bool = False
    signed_in: bool = False


def client(envelope: Envelope, header: Lookup) -> Client:
    """The address is asked about only if it is of the public Internet: others are inside."""
    if envelope.direct:
        return Client(_public(envelope.host), envelope.helo, True)
    if not envelope.trusted:
        return Client()
    received = [decode(value[:MAX_VALUE]) for value in header.all(b"received")[: MAX_INNER + 1]]
    if envelope.client_address:
        signed_in = bool(received) and _SIGNED_IN.search(received[0]) is not None
        return Client(_public(envelope.client_address), envelope.client_helo, True, signed_in)
    for value in received:
        match = _FROM.match(value)
        if match is None:
            return Client()
        if not _is_loopback(match[2]):
            return Client(_public(match[2]), match[1], True, _SIGNED_IN.search(value) is not None)
    return Client()


def _public(address: str) -> str:
    return str(ip_address(address)) if is_public(address) else ""


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def relayed_spf(envelope: Envelope, block: bytes) -> SpfResult | None:
    """What the relay has found of SPF: of its Authentication-Results, those above the top Received field."""
    if not envelope.trusted:
        return None
    top = (b"\n" + block).lower().find(b"\nreceived:")
    for value in Lookup(block[: max(top, 0)]).all(b"authentication-results")[:MAX_FIELDS]:
        text = f"Authentication-Results: {decode(value[:MAX_VALUE])}"
        try:
            results = authres.AuthenticationResultsHeader.parse(text).results or []
        except authres.AuthResError:
            continue
        for each in results:
            identity = each.smtp_mailfrom or each.smtp_helo if each.method == "spf" else ""
            if identity:
                scope = "mailfrom" if each.smtp_mailfrom else "helo"
                return SpfResult(str(each.result).lower(), scope, identity, identity.rpartition("@")[2].lower())
    return None
