"""Commands: one line without CRLF in, values out."""

import re
from dataclasses import dataclass

from protocols.smtp.wire.parameters import (
    MailParameters,
    RcptParameters,
    mail_parameters,
    rcpt_parameters,
    xtext,
)
from protocols.smtp.wire.path import forward_path, reverse_path
from protocols.smtp.wire.reply import CommandError

_VERB = re.compile("[A-Za-z]{1,20}")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
# BDAT SP chunk-size [SP "LAST"]: RFC 3030 §2.
_BDAT = re.compile("(?P<size>[0-9]{1,20})(?: +(?P<last>LAST))?", re.IGNORECASE)

XFORWARD_ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
XCLIENT_ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO")
_MAX_ATTRIBUTE_VALUE = 255
_UNAVAILABLE = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in upper case; `argument` without surrounding spaces."""

    verb: str
    argument: str


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL: `sender` is "" for the null reverse-path."""

    sender: str
    parameters: MailParameters


@dataclass(frozen=True, slots=True)
class Rcpt:
    recipient: str
    parameters: RcptParameters


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT: `size` octets follow; `last` ends the message."""

    size: int
    last: bool


def parse(line: bytes) -> Command:
    """A command line as verb and argument.

    Raises:
        CommandError: not text, or no verb.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise CommandError(500, "5.5.2", "Commands are ASCII or UTF-8") from None
    verb, _, argument = text.partition(" ")
    if not _VERB.fullmatch(verb) or _CONTROL.search(text):
        raise CommandError(500, "5.5.2", "Syntax error")
    return Command(verb.upper(), argument.strip(" "))


def parse_mail(argument: str, known: frozenset[str]) -> Mail:
    """`FROM:<reverse-path> [parameters]`; see `mail_parameters` for `known`.

    Raises:
        CommandError: syntax, or an unknown parameter.
    """
    sender, rest = reverse_path(_after("FROM:", argument))
    parameters = mail_parameters(rest, known)
    _check_ascii(sender, parameters.smtputf8)
    return Mail(sender, parameters)


def parse_rcpt(argument: str, known: frozenset[str], utf8: bool) -> Rcpt:
    """`TO:<forward-path> [parameters]`; `utf8`: the transaction began with SMTPUTF8.

    Raises:
        CommandError: as `parse_mail`.
    """
    recipient, rest = forward_path(_after("TO:", argument))
    _check_ascii(recipient, utf8)
    parameters = rcpt_parameters(rest, known)
    if not utf8 and not parameters.orcpt.isascii():
        # RFC 6533 §3: UTF-8 as it is only where SMTPUTF8 was given.
        raise CommandError(501, "5.5.4", "A non-ASCII ORCPT needs SMTPUTF8")
    return Rcpt(recipient, parameters)


def parse_bdat(argument: str) -> Bdat:
    """`chunk-size [LAST]`.

    Raises:
        CommandError: no number: nobody can know where the next command begins.
    """
    found = _BDAT.fullmatch(argument)
    if found is None:
        raise CommandError(501, "5.5.4", "Syntax: BDAT size [LAST]")
    return Bdat(int(found["size"]), found["last"] is not None)


def parse_xforward(argument: str) -> dict[str, str]:
    """Postfix's XFORWARD: attribute name to decoded value; "" where the relay does not know.

    Raises:
        CommandError: an unknown attribute or a value that is not xtext.
    """
    return _attributes("XFORWARD", XFORWARD_ATTRIBUTES, argument)


def parse_xclient(argument: str) -> dict[str, str]:
    """Postfix's XCLIENT, as `parse_xforward`.

    Raises:
        CommandError: an unknown attribute or a value that is not xtext.
    """
    return _attributes("XCLIENT", XCLIENT_ATTRIBUTES, argument)


def _attributes(verb: str, known: tuple[str, ...], argument: str) -> dict[str, str]:
    values = {}
    for word in argument.split():
        name, _, value = word.partition("=")
        if name.upper() not in known or len(value) > _MAX_ATTRIBUTE_VALUE:
            raise CommandError(501, "5.5.4", f"Bad {verb} attribute")
        try:
            decoded = xtext(value)
        except ValueError:
            raise CommandError(501, "5.5.4", f"Bad {verb} value") from None
        values[name.upper()] = "" if decoded.upper() in _UNAVAILABLE else decoded
    if not values:
        raise CommandError(501, "5.5.4", f"{verb} needs an attribute")
    return values


def _after(word: str, argument: str) -> str:
    if argument[: len(word)].upper() != word:
        raise CommandError(501, "5.5.4", f"Syntax: {word}<address>")
    # RFC 5321 §3.3: no space after the colon; many clients send one, and nothing else can be meant.
    return argument[len(word) :].lstrip(" ")


def _check_ascii(mailbox: str, utf8: bool) -> None:
    # RFC 6531 §3.5: a non-ASCII address without SMTPUTF8 is refused.
    if not utf8 and not mailbox.isascii():
        raise CommandError(553, "5.6.7", "Non-ASCII addresses need SMTPUTF8")
