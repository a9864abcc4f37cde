"""Commands as a client writes them: checked values in, a line with its CRLF out.

Addresses and parameters were checked when the message was taken in. They are checked again here, where a line end in
one would become a command of its own.
"""

import base64
import re

from duckmail.model.address import ascii_domain
from duckmail.model.queue import NOTIFY_DEFAULT, Notify, OutboundEnvelope, QueueRecipient
from protocols.smtp.wire.client_extensions import Extensions
from protocols.smtp.wire.parameters import mail_parameters, rcpt_parameters
from protocols.smtp.wire.path import forward_path, reverse_path
from protocols.smtp.wire.reply import CommandError

# Quoted local parts may hold spaces and angle brackets by RFC 5321 §4.1.2; too many servers then read another path.
_DANGEROUS = re.compile("[\x00-\x20<>\x7f-\x9f]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")
_MAX_ORCPT = 500  # RFC 3461 §4.2
_EVENTS = (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)


def line(*words: str) -> bytes:
    """A command of these words."""
    return " ".join(words).encode() + b"\r\n"


def plain(username: str, password: str) -> str:
    """The initial response of SASL PLAIN (RFC 4616 §2), in base64."""
    return encoded(f"\0{username}\0{password}")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def needs_utf8(address: str) -> bool:
    """The address cannot be sent without SMTPUTF8. A domain alone never needs it: it has its `xn--` form."""
    return not address.rpartition("@")[0].isascii()


def mail_line(envelope: OutboundEnvelope, size: int, utf8: bool, offered: Extensions) -> bytes:
    """MAIL with the parameters that the server offers. `size`: octets. `utf8`: SMTPUTF8 is asked for.

    Raises:
        CommandError: the sender's address or a parameter must not be sent.
    """
    words = [f"MAIL FROM:<{sender_path(envelope.sender)}>"]
    if offered.offers("SIZE"):
        words.append(f"SIZE={size}")
    if offered.offers("8BITMIME") and envelope.body == "8BITMIME":
        words.append("BODY=8BITMIME")
    if utf8:
        words.append("SMTPUTF8")
    if offered.offers("DSN"):
        report = [f"RET={envelope.ret}"] if envelope.ret else []
        report += [f"ENVID={envelope.envid}"] if envelope.envid else []
        mail_parameters(_joined(report), frozenset({"RET", "ENVID"}))
        words += report
    if envelope.requiretls:
        words.append("REQUIRETLS")
    return line(*words)


def rcpt_line(recipient: QueueRecipient, utf8: bool, offered: Extensions) -> bytes:
    """RCPT with the parameters that the server offers. `utf8`: the transaction has SMTPUTF8.

    Raises:
        CommandError: the address or a parameter must not be sent.
    """
    if needs_utf8(recipient.address) and not utf8:
        raise CommandError(553, "5.6.7", "The server does not support internationalized addresses (SMTPUTF8)")
    words = [f"RCPT TO:<{recipient_path(recipient.address)}>"]
    if offered.offers("DSN"):
        report = []
        # RFC 3461 §5.2.1: what the sender did not ask for is not asked for on the way.
        if recipient.notify != NOTIFY_DEFAULT:
            report.append(f"NOTIFY={_notify(recipient.notify)}")
        orcpt = recipient.orcpt if utf8 else _ascii_orcpt(recipient.orcpt)
        if orcpt:
            report.append(f"ORCPT={orcpt}")
        rcpt_parameters(_joined(report), frozenset({"NOTIFY", "ORCPT"}))
        words += report
    return line(*words)


def sender_path(address: str) -> str:
    """Between the brackets of MAIL; "" for the null reverse-path. Raises CommandError."""
    if not address:
        return ""
    path, rest = reverse_path(f"<{address}>")
    if rest or _DANGEROUS.search(path):
        raise CommandError(553, "5.1.7", "Bad sender's mailbox address syntax")
    return _wire_path(path, "5.1.7")


def recipient_path(address: str) -> str:
    """Between the brackets of RCPT. Raises CommandError."""
    path, rest = forward_path(f"<{address}>")
    if rest or _DANGEROUS.search(path):
        raise CommandError(553, "5.1.3", "Bad recipient address syntax")
    return _wire_path(path, "5.1.3")


def _wire_path(path: str, status: str) -> str:
    """The path as every server understands it: `xn--` labels, unless the local part needs SMTPUTF8 anyway."""
    local, at, domain = path.rpartition("@")
    if not at or domain.startswith("[") or not local.isascii():
        return path
    try:
        return f"{local}@{ascii_domain(domain)}"
    except ValueError:
        raise CommandError(553, status, "Bad domain in the address") from None


def _joined(parameters: list[str]) -> str:
    """As they stand behind a path. A space within one would make it two."""
    if any(" " in parameter for parameter in parameters):
        raise CommandError(501, "5.5.4", "Bad parameter syntax")
    return "".join(f" {parameter}" for parameter in parameters)


def _notify(notify: Notify) -> str:
    return ",".join(str(event.name) for event in _EVENTS if event in notify) or "NEVER"


def _ascii_orcpt(orcpt: str) -> str:
    """RFC 6533 §3: without SMTPUTF8 an address of type `utf-8` is written with `\\x{HEX}`. "" when that is too long."""
    written = _BEYOND_ASCII.sub(lambda found: f"\\x{{{ord(found[0]):X}}}", orcpt)
    return written if written == orcpt or len(written) <= _MAX_ORCPT else ""
