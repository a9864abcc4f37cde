"""TLS contexts of the listeners: loaded from files, replaced as a whole, chosen by server name with a dict lookup."""

import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from duckmail.runtime.log import event

HANDSHAKE_TIMEOUT = 20.0  # seconds; a mobile client on a bad link needs several round trips

_logger = logging.getLogger("duckmail.net.tls")


class TlsError(Exception):
    """A certificate or key cannot be used; the text names the files."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files: the certificate with its chain, and its key without a passphrase."""

    certificate: Path
    key: Path


class ServerContext(ssl.SSLContext):
    """`end_point`: the certificate's channel binding tls-server-end-point; empty when it is not defined for it."""

    end_point: bytes = b""


class TlsContexts:
    """The certificates that listeners present now.

    `server` is the context for the next handshake: fetch it per handshake, do not keep it. `names` maps lower-case
    server names, or `*.parent`, to the contexts of files; `stored` does so for certificates that come from elsewhere,
    and may be replaced at any time. A name in neither gets the default certificate.
    """

    def __init__(self, default: CertificateFiles, by_name: Mapping[str, CertificateFiles] | None = None) -> None:
        """Raises TlsError if any file cannot be used."""
        self._default = default
        self._by_name = dict(by_name or {})
        self._stored: Mapping[str, ssl.SSLContext] = {}
        self.server, self.names = self._load()

    def reload(self) -> bool:
        """Read all files again; on any error keep everything as it was, log it, and give False."""
        try:
            self.server, self.names = self._load()
        except TlsError as error:
            event(_logger, logging.ERROR, "certificates not reloaded, the old ones stay", reason=str(error))
            return False
        event(_logger, logging.INFO, "certificates reloaded", certificates=1 + len(self._by_name))
        return True

    def switching(self) -> ssl.SSLContext:
        """For listeners that keep one context for ever: each handshake moves on to what is current then."""
        context = server_context(self._default)

        def switch(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            connection.context = self.server
            self._choose(connection, name, self.server)

        context.sni_callback = switch
        return context

    def _load(self) -> tuple[ssl.SSLContext, dict[str, ssl.SSLContext]]:
        names: dict[str, ssl.SSLContext] = {
            name.lower(): server_context(files) for name, files in self._by_name.items()
        }
        return server_context(self._default), names

    @property
    def names(self) -> Mapping[str, ssl.SSLContext]:
        return self._names

    @names.setter
    def names(self, names: Mapping[str, ssl.SSLContext]) -> None:
        self._names = names
        self._listen_for_names()

    @property
    def stored(self) -> Mapping[str, ssl.SSLContext]:
        return self._stored

    @stored.setter
    def stored(self, stored: Mapping[str, ssl.SSLContext]) -> None:
        self._stored = stored
        self._listen_for_names()

    def _listen_for_names(self) -> None:
        # Only where there is a choice: a name that is not ASCII raises where nobody can catch it.
        self.server.sni_callback = self._choose if self._names or self._stored else None

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        # H9: an unauthenticated client's name costs a few dict lookups; nothing is fetched, ordered or awaited here.
        if name is None:
            return
        lower = name.lower()
        # RFC 9525 §6.3: a wildcard stands for the whole of the leftmost label, and for no more.
        star = "*." + lower.partition(".")[2]
        for known in (lower, star):
            found = self._stored.get(known) or self._names.get(known)
            if found is not None:
                connection.context = found
                return


def server_context(files: CertificateFiles) -> ServerContext:
    """A context for accepting TLS 1.2 and newer. Raises TlsError."""
    context = _bare_context()
    try:
        # An encrypted key must fail here: without a callback OpenSSL asks for the passphrase on the terminal.
        context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
        context.end_point = end_point(files.certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise TlsError(f"cannot use certificate {files.certificate} with key {files.key}: {error}") from error
    return context


def memory_context(certificate: bytes, key: bytes) -> ServerContext:
    """As `server_context`, of PEM octets. Python reads keys from files only: this one is never on a disk.

    Raises: TlsError.
    """
    context = _bare_context()
    handle = os.memfd_create("duckmail-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key + b"\n" + certificate)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{handle}", password=lambda: b"")
    except (OSError, ValueError) as error:
        raise TlsError(f"cannot use a certificate with its key: {error}") from error
    context.end_point = end_point(certificate)
    return context


def end_point(chain: bytes) -> bytes:
    """The hash of the first certificate of PEM octets, for channel bindings (RFC 5929 §4); empty when that leaves it
    undefined, or the certificate is beyond us."""
    try:
        certificate = x509.load_pem_x509_certificate(chain)
        algorithm = certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return b""
    if algorithm is None:  # RFC 5929 §4.1: undefined for signatures of no hash function, as Ed25519's
        return b""
    # RFC 5929 §4.1: SHA-256 takes the place of MD5 and SHA-1.
    weak = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
    return certificate.fingerprint(hashes.SHA256() if weak else algorithm)


def _bare_context() -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python's default ciphers are forward secret AEAD only for TLS 1.3; TLS 1.2 is held to the same here. RFC 9325 §4.2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION  # RFC 9325 §3.5: a client could otherwise make the server work for ever
    return context
