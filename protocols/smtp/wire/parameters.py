"""MAIL and RCPT parameters: SIZE (RFC 1870), BODY (RFC 6152, 3030), SMTPUTF8 (RFC 6531), DSN (RFC 3461), REQUIRETLS
(RFC 8689), AUTH (RFC 4954).

Which of them an edge takes depends on what it announced; the others are unknown to it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from protocols.smtp.wire.reply import CommandError

BODY_7BIT = "7BIT"
BODY_8BITMIME = "8BITMIME"
BODY_BINARYMIME = "BINARYMIME"
_BODIES = (BODY_7BIT, BODY_8BITMIME, BODY_BINARYMIME)

# esmtp-param = esmtp-keyword ["=" esmtp-value]; esmtp-value = 1*(%d33-60 / %d62-126), RFC 6531: or UTF8-non-ascii.
_PARAMETER = re.compile("(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[!-<>-~\u00a0-\U0010ffff]+))?")
# xtext = *( xchar / hexchar ): RFC 3461 §4.
_XTEXT = re.compile("(?:[!-*,-<>-~]|\\+[0-9A-F]{2})*")
_HEXCHAR = re.compile("\\+([0-9A-F]{2})")
_ATOM = re.compile("[A-Za-z0-9!#$%&'*/=?^_`{|}~.-]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_UNPRINTABLE = re.compile("[^ -~]")
# RFC 6533 §3 utf-8-addr-unitext, without the characters that break lines.
_UNITEXT = re.compile("[!-*,-<>-~\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]+")
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_MAX_SIZE_DIGITS = 20  # RFC 1870 §4
_MAX_ENVID = 100  # RFC 3461 §4.4
_MAX_ORCPT = 500  # RFC 3461 §4.2


@dataclass(frozen=True, slots=True)
class MailParameters:
    """`size`: octets as declared, 0 when not declared. `ret`, `envid` (in xtext, as it came): "" when not given."""

    size: int = 0
    body: str = BODY_7BIT
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    requiretls: bool = False


@dataclass(frozen=True, slots=True)
class RcptParameters:
    """`notify`: `("NEVER",)` or some of SUCCESS, FAILURE, DELAY. `orcpt`: `addr-type;xtext` as it came, or ""."""

    notify: tuple[str, ...] = ()
    orcpt: str = ""


P = TypeVar("P", MailParameters, RcptParameters)


def xtext(value: str) -> str:
    """Decodes xtext; octets beyond ASCII are read as UTF-8.

    Raises:
        ValueError: not xtext, or a control character in it: decoded values go into header lines.
    """
    if not _XTEXT.fullmatch(value):
        raise ValueError("not xtext")
    decoded = _HEXCHAR.sub(lambda found: chr(int(found[1], 16)), value).encode("latin-1").decode()
    if _CONTROL.search(decoded):
        raise ValueError("control character in xtext")
    return decoded


def _size(parameters: MailParameters, value: str) -> MailParameters:
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_SIZE_DIGITS):
        raise ValueError("not a number")
    return replace(parameters, size=int(value))


def _body(parameters: MailParameters, value: str) -> MailParameters:
    if value.upper() not in _BODIES:
        raise ValueError("unknown body type")
    return replace(parameters, body=value.upper())


def _smtputf8(parameters: MailParameters, value: str) -> MailParameters:
    if value:
        raise ValueError("has no value")
    return replace(parameters, smtputf8=True)


def _ret(parameters: MailParameters, value: str) -> MailParameters:
    if value.upper() not in {"FULL", "HDRS"}:
        raise ValueError("neither FULL nor HDRS")
    return replace(parameters, ret=value.upper())


def _envid(parameters: MailParameters, value: str) -> MailParameters:
    if not value or len(value) > _MAX_ENVID:
        raise ValueError("empty or too long")
    _check_printable(value)
    return replace(parameters, envid=value)


def _requiretls(parameters: MailParameters, value: str) -> MailParameters:
    if value:
        raise ValueError("has no value")
    return replace(parameters, requiretls=True)


def _auth(parameters: MailParameters, value: str) -> MailParameters:
    # RFC 4954 §5: who first sent the message is taken from no client here: it counts as `AUTH=<>`.
    if value != "<>" and not (value and xtext(value)):
        raise ValueError("neither <> nor xtext")
    return parameters


def _notify(parameters: RcptParameters, value: str) -> RcptParameters:
    events = tuple(value.upper().split(","))
    # RFC 3461 §4.1: NEVER stands alone.
    if events != ("NEVER",) and not _NOTIFY.issuperset(events):
        raise ValueError("unknown event")
    return replace(parameters, notify=events)


def _orcpt(parameters: RcptParameters, value: str) -> RcptParameters:
    kind, separator, original = value.partition(";")
    if not separator or not _ATOM.fullmatch(kind) or not original or len(value.encode()) > _MAX_ORCPT:
        raise ValueError("not addr-type;xtext")
    if original.isascii():
        _check_printable(original)
    elif kind.lower() != "utf-8" or not _UNITEXT.fullmatch(original):
        # RFC 6533 §3: with `utf-8` the address may also be written as it is.
        raise ValueError("not xtext")
    return replace(parameters, orcpt=value)


def _check_printable(value: str) -> None:
    """RFC 3461 §4.2, §4.4: what goes into a report has only printable ASCII behind its xtext."""
    if _UNPRINTABLE.search(xtext(value)):
        raise ValueError("not printable")


_MAIL: Mapping[str, Callable[[MailParameters, str], MailParameters]] = {
    "SIZE": _size,
    "BODY": _body,
    "SMTPUTF8": _smtputf8,
    "RET": _ret,
    "ENVID": _envid,
    "REQUIRETLS": _requiretls,
    "AUTH": _auth,
}
_RCPT: Mapping[str, Callable[[RcptParameters, str], RcptParameters]] = {"NOTIFY": _notify, "ORCPT": _orcpt}

LMTP_MAIL = frozenset({"SIZE", "BODY", "SMTPUTF8"})
LMTP_RCPT: frozenset[str] = frozenset()
SUBMISSION_MAIL = LMTP_MAIL | {"RET", "ENVID", "AUTH"}
MX_MAIL = LMTP_MAIL | {"RET", "ENVID"}
MX_MAIL_TLS = MX_MAIL | {"REQUIRETLS"}  # RFC 8689 §2: announced under TLS alone
MX_RCPT = frozenset({"NOTIFY", "ORCPT"})
SUBMISSION_MAIL_TLS = SUBMISSION_MAIL | {"REQUIRETLS"}
SUBMISSION_RCPT = MX_RCPT


def mail_parameters(text: str, known: frozenset[str]) -> MailParameters:
    """The parameters behind the reverse-path; `known`: the keywords of the announced extensions.

    Raises:
        CommandError: 555 for an unknown one, 501 for a wrong, repeated or misplaced one.
    """
    return _parse(MailParameters(), text, _MAIL, known)


def rcpt_parameters(text: str, known: frozenset[str]) -> RcptParameters:
    """The parameters behind the forward-path; as `mail_parameters`."""
    return _parse(RcptParameters(), text, _RCPT, known)


def _parse(parameters: P, text: str, table: Mapping[str, Callable[[P, str], P]], known: frozenset[str]) -> P:
    seen: set[str] = set()
    for keyword, value in _words(text):
        if keyword not in known or keyword not in table:
            # RFC 5321 §4.1.1.11: 555 for parameters not recognized or not implemented.
            raise CommandError(555, "5.5.4", f"Unknown parameter {keyword}")
        if keyword in seen:
            raise CommandError(501, "5.5.4", f"{keyword} is given twice")
        seen.add(keyword)
        try:
            parameters = table[keyword](parameters, value)
        except ValueError:
            raise CommandError(501, "5.5.4", f"Bad value of {keyword}") from None
    return parameters


def _words(text: str) -> Iterator[tuple[str, str]]:
    if text and not text.startswith(" "):
        raise CommandError(501, "5.5.4", "A space belongs between path and parameters")
    for word in text.split(" "):
        if not word:
            continue
        found = _PARAMETER.fullmatch(word)
        if found is None:
            raise CommandError(501, "5.5.4", "Bad parameter syntax")
        yield found["keyword"].upper(), found["value"] or ""
