"""Private keys of DKIM: made, read, and shown as their public half."""

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from duckmail.errors import InvalidInput

RSA, ED25519 = "rsa", "ed25519"
RSA_BITS = 2048
# RFC 8301 §3.2: signers use at least 1024 bits, and verifiers need not know more than 4096.
_LEAST_BITS, _MOST_BITS = 1024, 4096
_RAW = re.compile(r"[A-Za-z0-9+/]{43}=")  # 32 octets in base64

PrivateKey = RSAPrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """`private`: PKCS #8, DER. `public`: SubjectPublicKeyInfo, DER."""

    algorithm: str
    private: bytes = field(repr=False)
    public: bytes = field(repr=False)


def generate(algorithm: str) -> KeyPair:
    """`rsa` or `ed25519`; RSA takes a second of a processor."""
    if algorithm == ED25519:
        return _pair(Ed25519PrivateKey.generate())
    return _pair(generate_private_key(65537, RSA_BITS))


def read(text: str) -> KeyPair:
    """A PEM without a passphrase, or the 32 octets of an Ed25519 key in base64.

    Raises: InvalidInput: neither; or a key that verifiers would not take.
    """
    try:
        if _RAW.fullmatch(text.strip()):
            return _pair(Ed25519PrivateKey.from_private_bytes(b64decode(text.strip())))
        key = serialization.load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error) as error:
        raise InvalidInput("The private key is not a PEM of an RSA or Ed25519 key") from error
    if isinstance(key, Ed25519PrivateKey):
        return _pair(key)
    if not isinstance(key, RSAPrivateKey):
        raise InvalidInput("The private key is neither RSA nor Ed25519")
    if not _LEAST_BITS <= key.key_size <= _MOST_BITS:
        raise InvalidInput(f"An RSA key has {_LEAST_BITS} to {_MOST_BITS} bits")
    return _pair(key)


def _pair(key: PrivateKey) -> KeyPair:
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(ED25519 if isinstance(key, Ed25519PrivateKey) else RSA, private, public)


def opened(private: bytes) -> PrivateKey:
    """Of a `KeyPair`, which was checked when it was read."""
    key = serialization.load_der_private_key(private, None, unsafe_skip_rsa_key_validation=True)
    return cast("PrivateKey", key)


def sign(key: PrivateKey, octets: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        # RFC 8463 §3: what is signed is the SHA-256 of the octets.
        return key.sign(sha256(octets).digest())
    return key.sign(octets, padding.PKCS1v15(), hashes.SHA256())


def fingerprint(public: bytes) -> str:
    """SHA-256 of the public key, hexadecimal with colons."""
    return sha256(public).digest().hex(":")


def public_pem(public: bytes) -> str:
    key = serialization.load_der_public_key(public)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def dns_value(algorithm: str, public: bytes) -> str:
    """The TXT record (RFC 6376 §3.6.1). RFC 8463 §4.2: of Ed25519 the 32 octets alone."""
    if algorithm == ED25519:
        key = cast("Ed25519PublicKey", serialization.load_der_public_key(public))
        return f"v=DKIM1;t=s;k=ed25519;p={b64encode(key.public_bytes_raw()).decode()}"
    return f"v=DKIM1;t=s;p={b64encode(public).decode()}"
