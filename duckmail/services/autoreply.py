"""Automatic answers: to whom, what they say, and how no two machines come to talk to each other (RFC 3834)."""

import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

from duckmail.mime.address import addresses
from duckmail.mime.header import Lookup, decode
from duckmail.model.address import split, view
from duckmail.model.autoreply import Autoreply

INTERVAL = 4 * 3600  # seconds within which a sender is answered once
MOST_REFERENCES = 20
LONGEST_SUBJECT = 400  # characters

# RFC 3834 §2: who is not answered.
_MACHINES = re.compile(
    r"(?:mailer-?daemon|no-?reply|do-?not-?reply|donotreply|listserv|majordomo|postmaster)|.*(?:no-?reply|-request|-bounces?)",
)
_BULK = frozenset({b"list", b"junk", b"bulk"})
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,200}>")


def may_answer(sender: str, header: Lookup, own: Iterable[str]) -> bool:
    """Whether a message from `sender` (envelope) is one of a person to whoever has the addresses `own`."""
    # RFC 3834 §2: never to the null sender.
    local, domain = split(sender)
    if not sender or not domain or _MACHINES.fullmatch(local.lower()):
        return False
    # §2: not to what was sent automatically, nor to lists.
    submitted = header.first(b"auto-submitted")
    if submitted is not None and submitted.partition(b";")[0].strip().lower() != b"no":
        return False
    if (header.first(b"precedence") or b"").strip().lower() in _BULK:
        return False
    if any(header.first(name) is not None for name in (b"list-id", b"list-unsubscribe", b"list-post", b"feedback-id")):
        return False
    suppressed = (header.first(b"x-auto-response-suppress") or b"").lower()
    if any(word.strip() in (b"oof", b"autoreply", b"all") for word in suppressed.split(b",")):
        return False
    if header.first(b"x-wd-autoreply-for") is not None or header.first(b"x-autoreply") is not None:
        return False
    views = {view(address) for address in own if address}
    # §2: only who is named in To or Cc was written to.
    return view(sender) not in views and bool(views & named(header))


def named(header: Lookup) -> set[str]:
    """The comparison forms of the addresses in To, Cc and Bcc."""
    found = set()
    for name in (b"to", b"cc", b"bcc", b"resent-to", b"resent-cc"):
        for value in header.all(name)[:10]:
            for entry in addresses(value[:65536]):
                if entry.mailbox and entry.host:
                    found.add(view(decode(entry.mailbox + b"@" + entry.host)))
    return found


def compose(autoreply: Autoreply, *, address: str, name: str, sender: str, header: Lookup, hostname: str) -> bytes:
    """The answer from `address` to `sender`, about the message with this header.

    Raises:
        ValueError: an address that cannot stand in a header.
    """
    plain = address.isascii() and sender.isascii()
    message = EmailMessage(policy=SMTP if plain else SMTPUTF8)
    message["From"] = Address(_clean(autoreply.name or name), addr_spec=address)
    message["To"] = Address(addr_spec=sender)
    message["Subject"] = _subject(autoreply, header)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{secrets.token_hex(16)}@{hostname}>"
    # RFC 3834 §3.1.5, §3.1.6, §3.1.7.
    message["Auto-Submitted"] = "auto-replied"
    message["X-Auto-Response-Suppress"] = "All"
    message["Precedence"] = "auto_reply"
    about = _MESSAGE_ID.search(header.first(b"message-id") or b"")
    if about:
        identifier = about[0].decode("ascii")
        before = [match[0].decode("ascii") for match in _MESSAGE_ID.finditer(header.first(b"references") or b"")]
        message["X-WD-Autoreply-For"] = identifier
        message["In-Reply-To"] = identifier
        message["References"] = " ".join((*before[-MOST_REFERENCES:], identifier))
    message.set_content(autoreply.text or ("" if autoreply.html else "\r\n"))
    if autoreply.html:
        if autoreply.text:
            message.add_alternative(autoreply.html, subtype="html")
        else:
            message.set_content(autoreply.html, subtype="html")
    return message.as_bytes()


def _subject(autoreply: Autoreply, header: Lookup) -> str:
    if autoreply.subject:
        return "Auto: " + _clean(autoreply.subject)[:LONGEST_SUBJECT]
    original = decode((header.first(b"subject") or b"")[:4096])
    return "Auto: Re: " + _clean(original)[:LONGEST_SUBJECT]


def _clean(text: str) -> str:
    return _UNSAFE.sub(" ", text).strip()
