"""Timeouts, limits and TLS of the SMTP client."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from duckmail.runtime.outward import Outward
from protocols.net.tls import TlsError

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class SmtpClientSettings:
    """Times in seconds. The timeouts of the dialogue are those of RFC 5321 §4.5.3.2.

    `hostname`: in EHLO. `relays`: the hosts that the configuration names, in lower case: they may have addresses in
    private networks, and are looked up as the system does it (hosts file). `outward`: where all others may be.
    `message_timeout`: for one message with all that belongs to it, however steadily a server drips.
    `max_addresses`: how many addresses of one host are tried. `messages`: sent through one connection at most;
    `idle`: how long it waits for the next one; `most_idle`: connections that wait so.
    """

    hostname: str
    relays: frozenset[str] = frozenset()
    outward: Outward = field(default_factory=Outward)
    connect_timeout: float = 30.0
    tls_timeout: float = 30.0
    greeting_timeout: float = 5 * MINUTE
    command_timeout: float = 5 * MINUTE
    data_timeout: float = 2 * MINUTE
    block_timeout: float = 3 * MINUTE
    end_timeout: float = 10 * MINUTE
    message_timeout: float = 40 * MINUTE
    max_addresses: int = 6
    messages: int = 1
    idle: float = 5.0
    most_idle: int = 100


@dataclass(frozen=True, slots=True)
class ClientContexts:
    """`verifying`: the server must prove its name. `opportunistic`: any certificate will do (RFC 7435)."""

    verifying: ssl.SSLContext
    opportunistic: ssl.SSLContext


def client_contexts(authorities: Path | None = None) -> ClientContexts:
    """Contexts that trust the system's authorities and, beside them, those in the PEM file `authorities`.

    Reads files: once, at the start.

    Raises:
        TlsError: the file cannot be used.
    """
    verifying = ssl.create_default_context()
    verifying.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities is not None:
        try:
            verifying.load_verify_locations(authorities)
        except OSError as error:  # ssl.SSLError is one
            raise TlsError(f"cannot use the authorities in {authorities}: {error}") from error
    opportunistic = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    opportunistic.check_hostname = False
    opportunistic.verify_mode = ssl.CERT_NONE
    # RFC 7435 §3: weak encryption is better than none, and what fails here goes on in plaintext.
    opportunistic.set_ciphers("DEFAULT:@SECLEVEL=1")
    return ClientContexts(verifying, opportunistic)
