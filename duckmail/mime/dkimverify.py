"""DKIM signatures of received messages: read, and verified against keys from DNS (RFC 6376, RFC 8301, RFC 8463).

The signatures of ARC (RFC 8617) have the same tags but for two, and are read and verified by the same code.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import load_der_public_key

from duckmail.mime.dkim import BodyHash, relaxed
from duckmail.mime.header import Field, fields
from duckmail.mime.lineends import LineEnds

MAX_SIGNATURES = 8
"""Of one message that are verified: each costs a question to DNS and a signature's arithmetic."""
MAX_NAMES = 500  # in h=
MAX_FIELD = 16384  # octets of one signature field
SHORTEST_RSA = 1024  # bits; RFC 8301 §3.2: verifiers must not take fewer
LONGEST_RSA = 8192  # bits; a longer one is made to cost time
_PIECE = 1 << 20  # octets of a body that are canonicalized at once
_LEEWAY = 300  # seconds that the signer's clock may be ahead

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# RFC 6376 §3.5 sig-b-tag: the value of b= alone is left out; white space around stays for the simple form.
_B_VALUE = re.compile(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
_WHITE = re.compile(r"[ \t\r\n]+")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[^\s.;@\"\\\x00-\x20\x7f]{1,63}(?:\.[^\s.;@\"\\\x00-\x20\x7f]{1,63})*")
_FORMS = frozenset({"simple", "relaxed"})
_ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}


class Unverified(Exception):
    """Why a signature is not taken. `result`: as RFC 8601 §2.7.1 has it; `reason` holds nothing of the message."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature field as read. `algorithm`: `rsa` or `ed25519`; `identity`: i=.
    `names`: h=, in lower case. `length`: l=."""

    raw: bytes
    tags: dict[str, str]
    algorithm: str
    domain: str
    selector: str
    signed: bytes
    identity: str = ""
    names: tuple[bytes, ...] = ()
    body_hash: bytes = b""
    simple_header: bool = False
    simple_body: bool = False
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A public key as published. `strict`: t=s, the identity is of no subdomain."""

    public: RSAPublicKey | Ed25519PublicKey
    strict: bool = False


class Received:
    """The header and the body of a message, as signatures see it."""

    def __init__(self, block: bytes, body: Callable[[], Iterable[bytes]]) -> None:
        """`block`: the header section; `body`: its octets in pieces, once for each call."""
        ends = LineEnds()
        self.fields = fields(ends.feed(block) + ends.finish())
        self.by_name: dict[bytes, list[Field]] = {}
        for field in self.fields:
            self.by_name.setdefault(field.name.lower(), []).append(field)
        self._body = body

    def hashes(self, signatures: Sequence[Signature]) -> dict[tuple[bool, int | None], tuple[bytes, int]]:
        """For each form of the body that the signatures use: its digest, and the octets that the whole form has."""
        wanted = {(each.simple_body, each.length): BodyHash(each.simple_body, each.length) for each in signatures}
        ends = LineEnds()
        for octets in self._body():
            piece = ends.feed(octets)
            for hashed in wanted.values():
                hashed.feed(piece)
        last = ends.finish()
        for hashed in wanted.values():
            hashed.feed(last)
        return {form: (hashed.digest(), hashed.length) for form, hashed in wanted.items()}

    def selected(self, names: Sequence[bytes], form: Callable[[bytes], bytes]) -> bytes:
        """RFC 6376 §5.4.2: of several fields with one name the last comes first; a name without a field is nothing."""
        used: Counter[bytes] = Counter()
        found: list[bytes] = []
        for name in names:
            there = self.by_name.get(name, [])
            if used[name] < len(there):
                used[name] += 1
                found.append(form(there[-used[name]].raw))
        return b"".join(found)


def pieces(raw: bytes | bytearray, start: int) -> Iterable[bytes]:
    """The octets of `raw` from `start` on, in pieces that are fast to work on."""
    with memoryview(raw) as view:
        for at in range(start, len(raw), _PIECE):
            yield bytes(view[at : at + _PIECE])


def tags(value: bytes, *, gaps: bool = False) -> dict[str, str]:
    """A tag-list (RFC 6376 §3.2). Raises: Unverified: it is none, or names a tag twice (MUST NOT).

    `gaps`: nothing between two semicolons is overlooked. By the grammar only the last may have nothing after it; keys
    are published by hand, and so are taken with more.
    """
    found: dict[str, str] = {}
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Unverified("permerror", "not text") from None
    specs = text.split(";")
    for position, spec in enumerate(specs):
        name, equals, content = spec.partition("=")
        name = name.strip(" \t\r\n")
        if not equals and not name and (gaps or position == len(specs) - 1):
            continue
        if not equals or not _NAME.fullmatch(name) or name in found:
            raise Unverified("permerror", "syntax of the tags")
        found[name] = content.strip(" \t\r\n")
    return found


def read_signature(field: Field, now: float, *, arc: bool = False, seal: bool = False) -> Signature:
    """A DKIM-Signature field; `arc`: an ARC-Message-Signature, `seal`: an ARC-Seal.

    Raises: Unverified: it cannot verify, whatever the key is.
    """
    if len(field.raw) > MAX_FIELD:
        raise Unverified("permerror", "too long")
    found = tags(field.value)
    if not arc and not seal and found.get("v") != "1":
        raise Unverified("permerror", "version")
    # RFC 8301 §3.1: rsa-sha1 must not be taken.
    algorithm = _ALGORITHMS.get(found.get("a", "").lower())
    if algorithm is None:
        raise Unverified("permerror", "algorithm")
    domain, selector = found.get("d", ""), found.get("s", "")
    if not _DOMAIN.fullmatch(domain) or not _DOMAIN.fullmatch(selector):
        raise Unverified("permerror", "domain or selector")
    _check_times(found, now)
    base = Signature(field.raw, found, algorithm, domain.lower(), selector, _base64(found.get("b", "")))
    return base if seal else _message_signature(base, arc)


def _check_times(found: dict[str, str], now: float) -> None:
    made, expires = _number(found.get("t")), _number(found.get("x"))
    if expires is not None and expires < now:
        raise Unverified("fail", "expired")
    if made is not None and (made > now + _LEEWAY or (expires is not None and expires <= made)):
        raise Unverified("permerror", "time of signing")


def _message_signature(base: Signature, arc: bool) -> Signature:
    found = base.tags
    names = tuple(_WHITE.sub("", found.get("h", "")).lower().encode().split(b":"))
    # RFC 6376 §5.4: From must be signed. RFC 8617 §4.1.2: and no ARC-Seal.
    if b"from" not in names or len(names) > MAX_NAMES or (arc and b"arc-seal" in names):
        raise Unverified("permerror", "signed fields")
    identity = "" if arc else found.get("i", "@" + base.domain)
    host = identity.rpartition("@")[2].lower()
    if not arc and host != base.domain and not host.endswith("." + base.domain):
        raise Unverified("permerror", "identity of another domain")
    if "dns/txt" not in _WHITE.sub("", found.get("q", "dns/txt")).split(":"):
        raise Unverified("permerror", "query method")
    header_form, _, body_form = found.get("c", "simple/simple").partition("/")
    body_form = body_form or "simple"
    if header_form not in _FORMS or body_form not in _FORMS:
        raise Unverified("permerror", "canonicalization")
    return Signature(
        base.raw,
        found,
        base.algorithm,
        base.domain,
        base.selector,
        base.signed,
        identity,
        names,
        _base64(found.get("bh", "")),
        header_form == "simple",
        body_form == "simple",
        _number(found.get("l")),
    )


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Unverified("permerror", "syntax of a number")
    return int(text)


def _base64(text: str) -> bytes:
    try:
        octets = b64decode(_WHITE.sub("", text), validate=True)
    except (Base64Error, ValueError):
        octets = b""
    if not octets:
        raise Unverified("permerror", "syntax of base64")
    return octets


def read_key(records: Sequence[str], algorithm: str) -> Key:
    """The key among the TXT records of its name. Raises: Unverified: there is none that is of use."""
    problem = Unverified("permerror", "no key")
    for record in records[:MAX_SIGNATURES]:
        try:
            return _key(tags(record.encode("latin-1", "replace"), gaps=True), algorithm)
        except Unverified as error:
            problem = error
    raise problem


def _key(found: dict[str, str], algorithm: str) -> Key:
    # RFC 6376 §3.6.1: v= is DKIM1, if there; k= is rsa where it is not given.
    if found.get("v", "DKIM1") != "DKIM1" or "p" not in found:
        raise Unverified("permerror", "no key")
    if found.get("k", "rsa") != algorithm:
        raise Unverified("permerror", "key of another algorithm")
    if "sha256" not in _listed(found.get("h", "sha256")) or not {"*", "email"} & _listed(found.get("s", "*")):
        raise Unverified("permerror", "key for something else")
    if not found["p"]:
        raise Unverified("permerror", "key revoked")
    return Key(_public(_base64(found["p"]), algorithm), "s" in _listed(found.get("t", "")))


def _listed(text: str) -> set[str]:
    return set(_WHITE.sub("", text).split(":"))


def _public(octets: bytes, algorithm: str) -> RSAPublicKey | Ed25519PublicKey:
    try:
        if algorithm == "ed25519":
            return Ed25519PublicKey.from_public_bytes(octets)  # RFC 8463 §4.2: the 32 octets themselves
        key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        raise Unverified("permerror", "syntax of the key") from None
    if not isinstance(key, RSAPublicKey) or not SHORTEST_RSA <= key.key_size <= LONGEST_RSA:
        raise Unverified("permerror", "key size")
    return key


def verify(received: Received, signature: Signature, key: Key, body: tuple[bytes, int]) -> None:
    """`body`: as `Received.hashes` has it. Raises: Unverified: the signature is not of this message, or too narrow."""
    host = signature.identity.rpartition("@")[2].lower()
    if key.strict and signature.identity and host != signature.domain:
        raise Unverified("permerror", "identity of a subdomain")
    digest, length = body
    if digest != signature.body_hash:
        raise Unverified("fail", "body hash")
    form = bytes if signature.simple_header else relaxed
    octets = received.selected(signature.names, form) + form(unsigned(signature.raw)).removesuffix(b"\r\n")
    check_octets(signature, key, octets)
    # RFC 6376 §8.2: what follows the first l= octets could be anybody's.
    if signature.length is not None and signature.length < length:
        raise Unverified("policy", "part of the body is not signed")


def unsigned(raw: bytes) -> bytes:
    """RFC 6376 §3.7: the signature's own field with an empty b=."""
    name, colon, value = raw.partition(b":")
    return name + colon + _B_VALUE.sub(rb"\1", value.removesuffix(b"\r\n"), count=1) + b"\r\n"


def check_octets(signature: Signature, key: Key, octets: bytes) -> None:
    """Raises: Unverified: `octets` are not what was signed."""
    try:
        if isinstance(key.public, Ed25519PublicKey):
            digest = Hash(SHA256())
            digest.update(octets)
            key.public.verify(signature.signed, digest.finalize())
        else:
            key.public.verify(signature.signed, octets, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise Unverified("fail", "signature") from None
