"""What a POP3 server is told by its configuration."""

from dataclasses import dataclass

from protocols.sasl.mechanisms import Offer

MINUTES = 60

SASL = Offer(("PLAIN",))


@dataclass(frozen=True, slots=True)
class Pop3Settings:
    """Times in seconds.

    `starttls`: STLS is offered where the listener has a certificate. `plaintext_login`: passwords are taken without
    TLS. `login_timeout`: for all that comes before login. `idle_timeout`: RFC 1939 §3 asks for at least 10 minutes.
    `max_errors`: answers -ERR in a row, before login in all, until the connection is closed. `sasl`: the mechanisms of
    AUTH; not LOGIN, which is obsolete and says nothing that USER and PASS do not.
    """

    name: str = "duckmail"
    version: str = ""
    starttls: bool = True
    plaintext_login: bool = False
    login_timeout: float = 60
    idle_timeout: float = 10 * MINUTES
    write_timeout: float = 5 * MINUTES
    max_errors: int = 20
    sasl: Offer = SASL
