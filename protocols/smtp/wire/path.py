"""Reverse-path and forward-path (RFC 5321 §4.1.2, RFC 6531 §3.3)."""

import ipaddress
import re

from duckmail.model import address
from protocols.smtp.wire.reply import CommandError

# UTF8-non-ascii without the C1 controls and the line separators, which no address holds and logs would break at.
_U = "\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"

# Local-part = Dot-string / Quoted-string. Dots at odd places are let through: old mobile networks have such addresses.
_DOT_STRING = f"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.{_U}-]+"
_QUOTED = f'"(?:[ !#-\\[\\]-~{_U}]|\\\\[ -~])*"'
# Domain = sub-domain *("." sub-domain); the underscore is not in the RFC, but in real sender domains.
_SUB_DOMAIN = f"[A-Za-z0-9_{_U}][A-Za-z0-9_{_U}-]*"
_DOMAIN = f"{_SUB_DOMAIN}(?:\\.{_SUB_DOMAIN})*"
_LITERAL = r"\[[!-Z^-~]+\]"

# Path = "<" [ A-d-l ":" ] Mailbox ">"; A-d-l = At-domain *("," At-domain).
_PATH = re.compile(
    f"<(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?(?P<local>{_DOT_STRING}|{_QUOTED})@(?P<domain>{_DOMAIN}|{_LITERAL})>"
)
_POSTMASTER = re.compile("<postmaster>", re.IGNORECASE)


def reverse_path(text: str) -> tuple[str, str]:
    """The sender's address at the beginning of `text`, "" for `<>`, and what follows it.

    Raises:
        CommandError: no such path there.
    """
    if text.startswith("<>"):
        return "", text[2:]
    return _path(text, "5.1.7", "Bad sender's mailbox address syntax")


def forward_path(text: str) -> tuple[str, str]:
    """The recipient's address at the beginning of `text` (`postmaster` may be without domain), and what follows it.

    Raises:
        CommandError: as `reverse_path`.
    """
    # RFC 5321 §4.5.1: RCPT TO:<Postmaster>, without domain and in any case, must be supported.
    if found := _POSTMASTER.match(text):
        return "postmaster", text[found.end() :]
    return _path(text, "5.1.3", "Bad recipient address syntax")


def _path(text: str, status: str, complaint: str) -> tuple[str, str]:
    found = _PATH.match(text)
    if found is None or not _is_domain(found["domain"]):
        raise CommandError(501, status, complaint)
    # RFC 5321 §3.6.1 and appendix C: a source route is accepted and ignored.
    mailbox = address.join(*address.split(f"{found['local']}@{found['domain']}"))
    if len(mailbox.encode()) > address.MAX_ADDRESS:
        raise CommandError(501, status, "Address too long")
    return mailbox, text[found.end() :]


def _is_domain(domain: str) -> bool:
    """Names are checked by the grammar; an address literal must hold an address (RFC 5321 §4.1.3)."""
    if not domain.startswith("["):
        return True
    literal = domain[1:-1]
    try:
        if literal[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(literal[5:])
        else:
            ipaddress.IPv4Address(literal)
    except ValueError:
        return False
    return True
