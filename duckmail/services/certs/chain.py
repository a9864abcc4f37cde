"""Certificate chains and their keys as administrators and ACME servers give them: read, checked, put in order."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from duckmail.errors import InvalidInput
from duckmail.model.address import ascii_domain

MOST_CERTIFICATES = 20  # of one chain
MOST_NAMES = 200
RENEWED_BEFORE = timedelta(days=30)
_PEM = serialization.Encoding.PEM
_DER_PUBLIC = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class Chain:
    """`certificates`: PEM, the server's own first. `key`: PKCS #8, PEM. `names`: lower case.

    `renew`: when it is time for the next one.
    """

    certificates: bytes
    key: bytes = field(repr=False)
    names: tuple[str, ...]
    fingerprint: str
    expires: datetime
    renew: datetime


def read_chain(key: str, certificates: Sequence[str], servername: str) -> Chain:
    """`certificates`: PEM, several in one or each for itself; the one of the key may stand anywhere.

    Raises: InvalidInput.
    """
    try:
        private = serialization.load_pem_private_key(key.encode(), None)
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise InvalidInput("The private key is neither RSA, ECDSA nor Ed25519")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInput("The private key is not a PEM without a passphrase") from error
    try:
        found = [one for text in certificates for one in x509.load_pem_x509_certificates(text.encode())]
        if len(found) > MOST_CERTIFICATES:
            raise InvalidInput("The chain has too many certificates")
        public = private.public_key().public_bytes(*_DER_PUBLIC)
        own = next((one for one in found if one.public_key().public_bytes(*_DER_PUBLIC) == public), None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput("The certificate is not a PEM") from error
    if own is None:
        raise InvalidInput("Certificate and private key do not belong together")
    # RFC 8446 §4.4.2: the sender's own certificate comes first.
    rest = list(dict.fromkeys(one for one in found if one != own))
    return Chain(
        certificates=b"".join(one.public_bytes(_PEM) for one in (own, *rest)),
        key=private.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        names=names_of(own) or (servername,),
        fingerprint=own.fingerprint(hashes.SHA256()).hex(":"),
        expires=own.not_valid_after_utc,
        renew=_renew(own),
    )


def _renew(own: x509.Certificate) -> datetime:
    """A month before its end; of one that lives for days, when a third of that is left."""
    end = own.not_valid_after_utc
    return end - min(RENEWED_BEFORE, (end - own.not_valid_before_utc) / 3)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names that it is for; its common name only if it has no other (RFC 9525 §2 wants none)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = found.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(dict.fromkeys(name.lower() for name in names[:MOST_NAMES] if is_server_name(name.lower())))


def is_server_name(name: str) -> bool:
    """What a client may ask for, or a wildcard: `mail.example.com`, `*.example.com`; A-labels."""
    plain = name.removeprefix("*.")
    try:
        ipaddress.ip_address(plain)
    except ValueError:
        pass
    else:
        return False
    try:
        return plain.isascii() and "." in plain and ascii_domain(plain) == plain
    except ValueError:
        return False
