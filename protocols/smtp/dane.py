"""Whether the certificates that a server presents are the ones its TLSA records name (DANE, RFC 7672 §3). Pure."""

import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from duckmail.model.transport import Tlsa

LONGEST_CHAIN = 10  # certificates that are looked at

# What those that sign for themselves leave out must not stop mail: names, times and signatures are what counts.
_AUTHORITY = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
_LEAF = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)


def authenticated(chain: Sequence[bytes], records: Sequence[Tlsa], names: Sequence[str]) -> bool:
    """`chain`: certificates in DER, the server's own first. `records`: usable ones. `names`: that it may go by."""
    certificates = _read(chain[:LONGEST_CHAIN])
    if not certificates:
        return False
    # RFC 7672 §3.1.1: for usage 3 neither the name nor the time in the certificate counts.
    if any(record.usage == 3 and _matches(certificates[0], record) for record in records):
        return True
    anchors = [one for one in certificates for record in records if record.usage == 2 and _matches(one, record)]
    return any(_leads_to(certificates, anchor, name) for anchor in anchors for name in names)


def _read(chain: Sequence[bytes]) -> list[x509.Certificate]:
    try:
        return [x509.load_der_x509_certificate(each) for each in chain]
    except ValueError:
        return []


def _matches(certificate: x509.Certificate, record: Tlsa) -> bool:
    # RFC 6698 §2.1.2: 0 is the whole certificate, 1 its key. §2.1.3: 0 as it is, 1 and 2 its digest.
    if record.selector == 0:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if record.matching:
        octets = (hashlib.sha256 if record.matching == 1 else hashlib.sha512)(octets).digest()
    return octets == record.data


def _leads_to(chain: Sequence[x509.Certificate], anchor: x509.Certificate, name: str) -> bool:
    """RFC 7672 §3.1.2: signed by the anchor, directly or not, for this name, and in its time."""
    policy = PolicyBuilder().store(Store([anchor])).extension_policies(ca_policy=_AUTHORITY, ee_policy=_LEAF)
    try:
        policy.build_server_verifier(x509.DNSName(name)).verify(chain[0], list(chain[1:]))
    except (VerificationError, ValueError):
        return False
    return True
