"""What a domain asks for on the way of mail to it, and what came of it."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record (RFC 6698 §2.1). `data`: the certificate, the key, or the digest of one."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def usable(self) -> bool:
        """Whether mail can be protected by it."""
        # RFC 7672 §3.1.3: usages 0 and 1 are not for SMTP. RFC 6698 §2.1.2, §2.1.3: other values are for the future.
        return self.usage in (2, 3) and self.selector in (0, 1) and self.matching in (0, 1, 2) and bool(self.data)

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


class Found(Enum):
    """Which policy a session was under (RFC 8460 §4.4)."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


class Failure(Enum):
    """Why a session failed (RFC 8460 §4.3)."""

    NO_STARTTLS = "starttls-not-supported"
    HOST_MISMATCH = "certificate-host-mismatch"
    EXPIRED = "certificate-expired"
    NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION = "validation-failure"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    STS_FETCH = "sts-policy-fetch-error"
    STS_INVALID = "sts-policy-invalid"
    STS_WEBPKI = "sts-webpki-invalid"


@dataclass(frozen=True, slots=True)
class Applied:
    """The policy of a session. `strings`: its text, line by line; `mx`: the patterns of MTA-STS."""

    domain: str
    found: Found = Found.NONE
    strings: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """What came of TLS with one host. `failure`: None when it was protected as the policy asks.

    `address`: what was connected to, "" before that. `detail`: our own words.
    """

    applied: Applied
    host: str = ""
    address: str = ""
    failure: Failure | None = None
    detail: str = ""
