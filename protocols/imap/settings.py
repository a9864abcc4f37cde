"""What an IMAP server is told by its configuration."""

from dataclasses import dataclass

from protocols.sasl.mechanisms import Offer

MINUTES = 60
KIB = 1024

SASL = Offer(("PLAIN", "PLAIN-CLIENTTOKEN", "LOGIN"))


@dataclass(frozen=True, slots=True)
class ImapSettings:
    """Times in seconds, sizes in octets.

    `starttls`: STARTTLS is offered where the listener has a certificate. `plaintext_login`: LOGIN and AUTHENTICATE work
    without TLS. `message_size`: of APPEND, announced as APPENDLIMIT. `idle_timeout`: RFC 3501 §5.4 asks for at least 30
    minutes once logged in. `max_bad`: answers BAD before the connection is closed. `progress_interval`: between
    two INPROGRESS of one command. `message_limit`: messages that one command works on (RFC 9738); `save_limit`: only
    COPY and APPEND; 0 is no limit. `literal_minus`: LITERAL- instead of LITERAL+ (RFC 7888). `sasl`: the mechanisms of
    AUTHENTICATE.
    """

    name: str = "duckmail"
    version: str = ""
    starttls: bool = True
    plaintext_login: bool = False
    message_size: int = 64 * KIB * KIB
    login_timeout: float = 60
    idle_timeout: float = 30 * MINUTES
    idle_keepalive: float = 2 * MINUTES
    write_timeout: float = 5 * MINUTES
    progress_interval: float = 15
    upload_timeout: float = 2 * MINUTES
    reserve_timeout: float = 60
    max_bad: int = 50
    sasl: Offer = SASL
    message_limit: int = 0
    save_limit: int = 0
    literal_minus: bool = False

    @property
    def save_limit_in_force(self) -> int:
        """Messages that COPY and APPEND take; 0 is no limit."""
        return self.message_limit or self.save_limit
