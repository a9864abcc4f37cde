"""What the first start makes so that a fresh server can be used at once: certificate, API token, demo account.

All of it stands in the data folder, in files that only their owner can read, and is made once: later starts find it.
"""

import contextlib
import ipaddress
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from duckmail.config.schema import Config
from duckmail.errors import AlreadyExists, DuckmailError
from duckmail.services.access import SYSTEM
from duckmail.services.users import NewUser, Users
from storage.embedded.folders import private_folder

# Clients such as Apple's refuse certificates for longer than 825 days.
VALID = timedelta(days=820)
RENEW_BEFORE = timedelta(days=30)
DEMO_NAME = "demo"


class FirstStartError(DuckmailError):
    """A file in the data folder cannot be made or read."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A secret that stands in `file` (None: it came from the configuration); `fresh`: made by this start."""

    text: str
    file: Path | None = None
    fresh: bool = False

    def shown(self) -> str:
        """The secret itself only when it was made just now, else where to find it."""
        return self.text if self.fresh else f"see {self.file}"


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo account."""

    username: str
    address: str
    password: Kept


def certificate(config: Config, hostname: str) -> tuple[Path, Path]:
    """Files of certificate and key: the configured ones, else self-signed ones under the data folder, made if needed.

    Raises: FirstStartError.
    """
    if config.tls.certificate and config.tls.key:
        return config.tls.certificate, config.tls.key
    folder = private_folder(private_folder(config.server.data) / "tls")
    crt, key = folder / "self-signed.crt", folder / "self-signed.key"
    if not _usable(crt, key):
        key_octets, crt_octets = self_signed(hostname, datetime.now(UTC))
        write_private(key, key_octets)
        write_private(crt, crt_octets)
    return crt, key


def self_signed(hostname: str, now: datetime) -> tuple[bytes, bytes]:
    """PEM of an ECDSA P-256 key and of a certificate for `hostname`, localhost and the loopback addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    # RFC 5280, upper bound of a common name: 64.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    names = [x509.DNSName(text) for text in dict.fromkeys(("localhost", hostname))]
    loopback = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([*names, *loopback]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, built.public_bytes(serialization.Encoding.PEM)


def _usable(crt: Path, key: Path) -> bool:
    """Whether the self-signed certificate is there and valid for a while."""
    if not key.exists():
        return False
    try:
        found = x509.load_pem_x509_certificate(crt.read_bytes())
    except (OSError, ValueError):
        return False
    return found.not_valid_after_utc - RENEW_BEFORE > datetime.now(UTC)


def api_token(config: Config) -> Kept | None:
    """The token that may do everything: the configured one, else that of `<data>/api-token`, made if needed.

    None when access control is off and no token is configured. Raises: FirstStartError.
    """
    configured = config.api.token.get_secret_value()
    if configured:
        return Kept(configured)
    if not config.api.access_control:
        return None
    file = private_folder(config.server.data) / "api-token"
    if file.exists():
        return Kept(_read(file), file)
    token = secrets.token_hex(20)
    write_private(file, f"{token}\n".encode())
    return Kept(token, file, fresh=True)


async def demo_account(config: Config, users: Users) -> Demo | None:
    """The demo account, made once per data folder; None when it was removed, or the name was taken by somebody else.

    The password is written to a draft before the account is made and the draft renamed behind that: a start that is
    interrupted anywhere is finished by the next one, with the same password.

    Raises: DuckmailError.
    """
    folder = private_folder(config.server.data)
    file, draft = folder / "demo-account", folder / ".demo-account"
    fresh = not file.exists()
    if fresh:
        if not draft.exists():
            if await users.sign_in_name(DEMO_NAME):
                return None
            write_private(draft, f"{secrets.token_urlsafe(12)}\n".encode())
        with contextlib.suppress(AlreadyExists):
            await users.create(NewUser(username=DEMO_NAME, password=_read(draft)), SYSTEM)
        draft.replace(file)
    user = await users.sign_in_name(DEMO_NAME)
    return Demo(user.username, user.address, Kept(_read(file), file, fresh)) if user else None


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FirstStartError(f"{file} cannot be read") from error


def write_private(file: Path, octets: bytes) -> None:
    """Writes a file of mode 0600, as a whole or not at all. Raises: FirstStartError."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(octets)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    except OSError as error:
        raise FirstStartError(f"{file} cannot be written: {error.strerror}") from error


def welcome(config: Config, demo: Demo | None, token: Kept | None, listening: Sequence[tuple[str, str]]) -> str:
    """What a start on a terminal prints. `listening`: what listens where, as ("IMAP, STARTTLS", "127.0.0.1:1143")."""
    rows = list(listening)
    if demo is not None:
        rows += [("", ""), ("login", demo.username), ("password", demo.password.shown()), ("address", demo.address)]
    if token is not None and token.file is not None:
        rows += [("", ""), ("API token", token.shown())]
    lines = [f"{name:<22}{value}" for name, value in rows]
    if config.embedded_mongo or config.embedded_redis:
        lines += ["", "The databases are embedded ones, for trial use only: see [mongo] and [redis] in duckmail.toml."]
    if not config.outbound.relay.get_secret_value() and not config.outbound.mx:
        lines += ["", "Mail for other domains waits in the queue: neither outbound.relay nor outbound.mx is set."]
    return "\n".join(["", "duckmail is running", "", *(f"  {line}".rstrip() for line in lines), ""])
