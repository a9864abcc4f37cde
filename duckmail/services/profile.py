"""Configuration profiles of Apple's systems: an account with its application password in one signed file.

Format: Apple's "Configuration Profile Reference", payload com.apple.mail.managed, in a CMS SignedData (RFC 5652).
"""

import plistlib
import uuid
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7

from duckmail.errors import Unavailable
from duckmail.runtime.threads import Pool

_NAMESPACE = uuid.UUID("4a4f2d0e-6d1b-4d3c-9b2e-6c7e0a9d1c55")  # of what is made from an account's id


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """What mail programs are told of this server; all ports are TLS from the first octet."""

    host: str
    organization: str = ""
    imap_port: int = 993
    pop3_port: int = 995
    smtp_port: int = 465


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whose profile it is. `password`: of the application; `asp`: its id. `imap`: else POP3."""

    user: str
    username: str
    name: str
    address: str
    description: str
    asp: str
    password: str
    imap: bool


class Profiles:
    """Signs with the certificate that the listeners have, read anew each time: it may have been renewed."""

    def __init__(self, settings: ProfileSettings, certificate: tuple[Path, Path], threads: Pool) -> None:
        """`certificate`: PEM files of certificate with chain, and of its key."""
        self._settings = settings
        self._certificate = certificate
        self._threads = threads

    async def make(self, holder: Holder) -> bytes:
        """DER. Raises: Unavailable: the certificate cannot be read or cannot sign."""
        return await self._threads.run(self._make, holder)

    def _make(self, holder: Holder) -> bytes:
        try:
            chain = x509.load_pem_x509_certificates(self._certificate[0].read_bytes())
            key = load_pem_private_key(self._certificate[1].read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise Unavailable("The profile could not be signed", error=type(error).__name__) from error
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise Unavailable("The profile could not be signed", error="the certificate's key is neither RSA nor EC")
        builder = pkcs7.PKCS7SignatureBuilder().set_data(plist(self._settings, holder))
        builder = builder.add_signer(chain[0], key, SHA256())
        for issuer in chain[1:]:
            builder = builder.add_certificate(issuer)
        return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def plist(settings: ProfileSettings, holder: Holder) -> bytes:
    """The profile itself, XML. Identifiers are the account's: a new profile replaces the earlier one."""
    identifier = f"{'.'.join(reversed(settings.host.split('.')))}.mail.{holder.user}"
    incoming = "IncomingMailServer"
    account = {
        "PayloadType": "com.apple.mail.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.account",
        "PayloadUUID": _uuid(holder.asp, "account"),
        "PayloadDisplayName": holder.description,
        "EmailAccountDescription": holder.description,
        "EmailAccountName": holder.name or holder.address,
        "EmailAccountType": "EmailTypeIMAP" if holder.imap else "EmailTypePOP",
        "EmailAddress": holder.address,
        f"{incoming}Authentication": "EmailAuthPassword",
        f"{incoming}HostName": settings.host,
        f"{incoming}PortNumber": settings.imap_port if holder.imap else settings.pop3_port,
        f"{incoming}UseSSL": True,
        f"{incoming}Username": holder.username,
        "IncomingPassword": holder.password,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": settings.host,
        "OutgoingMailServerPortNumber": settings.smtp_port,
        "OutgoingMailServerUseSSL": True,
        "OutgoingMailServerUsername": holder.username,
        "OutgoingPassword": holder.password,
        "OutgoingPasswordSameAsIncomingPassword": True,
    }
    profile = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": _uuid(holder.asp, "profile"),
        "PayloadDisplayName": holder.address,
        "PayloadDescription": f"Mail account {holder.address}",
        **({"PayloadOrganization": settings.organization} if settings.organization else {}),
        "PayloadContent": [account],
    }
    return plistlib.dumps(profile)


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\0".join(parts))).upper()
