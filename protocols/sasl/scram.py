"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): the messages; who checks the proof is another's business.

The only channel binding is tls-server-end-point (RFC 5929 §4): Python's ssl does not give the keying material that
others need.
"""

import hmac
import re
import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from duckmail.errors import AuthenticationFailed
from duckmail.model.credentials import ScramProof
from protocols.sasl.steps import ActingAsAnother, Lookup, SaslError, text_of

BINDING = b"tls-server-end-point"
MAX_NONCE = 256  # octets of the client's part
_NONCE = 24  # octets of randomness in ours
_PROOF = 32  # octets of SHA-256

# RFC 5802 §7: gs2-header, and client-first-message-bare. `m=` is an extension that must be known: there are none.
_FIRST = re.compile(
    rb"(?P<header>(?P<flag>[ny]|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>[^,\0]+))?,)"
    rb"(?P<bare>n=(?P<name>[^,\0]+),r=(?P<nonce>[!-+\x2d-~]+)(?:,[A-Za-z]=[^,\0]+)*)",
)
_FINAL = re.compile(
    rb"(?P<unproved>c=(?P<binding>[A-Za-z0-9/+=]+),r=(?P<nonce>[!-+\x2d-~]+)(?:,[A-Za-z]=[^,\0]+)*)"
    rb",p=(?P<proof>[A-Za-z0-9/+=]+)"
)
_ESCAPED = re.compile("=2C|=3D|=")


class Scram:
    """One exchange: client-first-message, client-final-message."""

    def __init__(self, *, plus: bool, end_point: bytes, nonce: str = "") -> None:
        """
        Args:
            plus: SCRAM-SHA-256-PLUS was asked for.
            end_point: the binding of this connection; empty when -PLUS is not offered on it.
            nonce: our part of it; "" makes one.
        """
        self._plus = plus
        self._end_point = end_point
        self._own = nonce or secrets.token_urlsafe(_NONCE)
        self._username = ""
        self._channel = b""  # what `c=` has to hold
        self._bare = b""
        self._nonce = b""
        self._told: tuple[bytes, int, bytes] | None = None  # salt, iterations, server-first-message

    def first_challenge(self) -> bytes:
        return b""  # RFC 5802 §5: the client speaks first

    def step(self, response: bytes) -> Lookup | ScramProof:
        """Raises: SaslError. AuthenticationFailed: it is not this channel, or somebody changed what we offered."""
        return self._first(response) if self._told is None else self._final(response, *self._told)

    def _first(self, response: bytes) -> Lookup:
        found = _FIRST.fullmatch(response)
        if found is None or len(found["nonce"]) > MAX_NONCE:
            raise SaslError("Invalid SCRAM message")
        self._check_flag(found["flag"][:1], found["binding"])
        self._username = _name(found["name"])
        # RFC 5802 §5.1: authzid asks to act as somebody else, which nobody may here.
        if found["authzid"] is not None and _name(found["authzid"]) != self._username:
            raise ActingAsAnother("Acting as another user is not supported")
        self._channel = found["header"] + (self._end_point if self._plus else b"")
        self._bare = found["bare"]
        self._nonce = found["nonce"] + self._own.encode("ascii")
        return Lookup(self._username, self._challenge)

    def _check_flag(self, flag: bytes, binding: bytes | None) -> None:
        if self._plus != (flag == b"p"):
            # RFC 5802 §6: `p` is for the mechanism with channel binding, and nothing else is.
            raise SaslError("Invalid channel binding flag")
        if flag == b"p" and binding != BINDING:
            raise AuthenticationFailed(reason="another channel binding")
        if flag == b"y" and self._end_point:
            # RFC 5802 §6: the client believes that -PLUS is not offered here, as somebody between us made it believe.
            raise AuthenticationFailed(reason="channel binding downgraded")

    def _challenge(self, salt: bytes, iterations: int) -> bytes:
        """server-first-message."""
        told = b"r=%b,s=%b,i=%d" % (self._nonce, b64encode(salt), iterations)
        self._told = salt, iterations, told
        return told

    def _final(self, response: bytes, salt: bytes, iterations: int, told: bytes) -> ScramProof:
        found = _FINAL.fullmatch(response)
        if found is None:
            raise SaslError("Invalid SCRAM message")
        channel, proof = _octets(found["binding"]), _octets(found["proof"])
        if found["nonce"] != self._nonce or len(proof) != _PROOF:
            raise SaslError("Invalid SCRAM message")
        if not hmac.compare_digest(channel, self._channel):
            raise AuthenticationFailed(reason="another channel")
        message = b"%b,%b,%b" % (self._bare, told, found["unproved"])
        return ScramProof(self._username, salt, iterations, message, proof)


def final_message(signature: bytes) -> bytes:
    """server-final-message: that the server has the keys of the password as well."""
    return b"v=" + b64encode(signature)


def _name(octets: bytes) -> str:
    # RFC 5802 §5.1: `,` and `=` are written "=2C" and "=3D"; any other "=" is an error.
    def plain(found: re.Match[str]) -> str:
        if found[0] == "=":
            raise SaslError("Invalid user name")
        return "," if found[0] == "=2C" else "="

    return _ESCAPED.sub(plain, text_of(octets))


def _octets(text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except Base64Error:
        raise SaslError("Invalid SCRAM message") from None
