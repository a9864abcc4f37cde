"""Mail addresses: one spelling to store, one form to compare.

Stored: NFC, lower case, the domain in Unicode. Compared (the "view"): also without dots and `+label` in the local part,
so that `John.Doe+shop@example.com` finds `johndoe@example.com`.
"""

import re
import unicodedata
from functools import lru_cache

MAX_ADDRESS = 1000  # octets in UTF-8; RFC 5321 §4.5.3.1.3 asks for 256, long VERP senders need more
_MAX_LABEL = 63
_REMEMBERED = 4096  # addresses: the same ones come again and again

# RFC 5321 §4.1.2 Atom with RFC 6531 §3.3 UTF8-non-ascii; what else a local part holds needs quotes.
_ATOMS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+)*"
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_ESCAPE = re.compile(r'(["\\])')
_ACE = "xn--"
_MAX_DOMAIN = 253
# LDH label of RFC 5890 §2.3.1, and the underscore that real names have.
_ASCII_LABEL = re.compile("[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def split(address: str) -> tuple[str, str]:
    """Local part, without its quotes, and domain; a domain of "" when there is no `@`."""
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = address, ""
    if len(local) >= 2 and local.startswith('"') and local.endswith('"'):
        local = _ESCAPED.sub(r"\1", local[1:-1])
    return local, domain


def join(local: str, domain: str) -> str:
    """The address as it is written: a local part that is not made of atoms goes into quotes."""
    if not _ATOMS.fullmatch(local):
        local = '"' + _NEEDS_ESCAPE.sub(r"\\\1", local) + '"'
    return f"{local}@{domain}" if domain else local


@lru_cache(_REMEMBERED)
def normalise(address: str) -> str:
    """The one spelling that is stored and shown: trimmed, NFC, lower case, Unicode domain."""
    local, domain = split(address.strip())
    return join(_fold(local), normalise_domain(domain))


def normalise_domain(domain: str) -> str:
    """A domain in its Unicode comparison form: NFC, lower case, `xn--` labels decoded."""
    return ".".join(_unicode_label(label) for label in _fold(domain.strip()).split("."))


def ascii_domain(domain: str) -> str:
    """A domain as DNS has it: its non-ASCII labels in their `xn--` form, without a final dot.

    Raises:
        ValueError: no host name, or too long for one.
    """
    name = domain.removesuffix(".")
    if not name.isascii():
        name = ".".join(_ascii_label(label) for label in normalise_domain(name).split("."))
    if len(name) > _MAX_DOMAIN or not all(map(_ASCII_LABEL.fullmatch, name.split("."))):
        raise ValueError("not a host name")
    return name


@lru_cache(_REMEMBERED)
def view(address: str) -> str:
    """The comparison form: `normalise` without dots and `+label` in the local part, never quoted."""
    local, domain = split(address.strip())
    return f"{local_view(local)}@{normalise_domain(domain)}"


def local_view(local: str) -> str:
    """The local part's comparison form; a part made only of dots, or of a label, stays as it is."""
    folded = _fold(local)
    return folded.partition("+")[0].replace(".", "") or folded


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _ascii_label(label: str) -> str:
    return label if label.isascii() else _ACE + label.encode("punycode").decode("ascii")


def _unicode_label(label: str) -> str:
    """An `xn--` label in Unicode; as it is when it does not decode, or when another label is its right encoding."""
    if not label.startswith(_ACE) or len(label) > _MAX_LABEL:
        return label
    try:
        decoded = label.removeprefix(_ACE).encode("ascii").decode("punycode")
        same = _ACE + decoded.encode("punycode").decode("ascii") == label
    except UnicodeError:
        return label
    # Two spellings of one name only: `xn--` that hides plain ASCII, upper case or a composed form is left alone.
    return decoded if same and not decoded.isascii() and _fold(decoded) == decoded else label
