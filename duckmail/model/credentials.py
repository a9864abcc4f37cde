"""What an account signs in with beside its password, and the log of its sign-ins."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ScramVerifier:
    """What proofs of a password are checked with (SCRAM-SHA-256, RFC 5802 §3). `keys`: StoredKey and ServerKey, sealed;
    empty when there are none. The salt stays with the account: its application passwords share it.
    """

    salt: bytes
    iterations: int
    keys: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ScramProof:
    """What a client says to prove that it knows a password, and what it was told before. `message`: AuthMessage of
    RFC 5802 §3.
    """

    username: str
    salt: bytes
    iterations: int
    message: bytes = field(repr=False)
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApplicationPassword:
    """A password for one mail program. `scopes`: of `imap`, `pop3`, `smtp`, or `*` for all.

    `selector`: few bits of the password, to find it among the account's. `expires`: None lasts. `last_event`: id in the
    authlog.
    """

    id: str
    user: str
    description: str
    scopes: tuple[str, ...]
    selector: str = field(repr=False)
    hash: str = field(repr=False)
    created: datetime
    expires: datetime | None = None
    last_use: datetime | None = None
    last_event: str = ""
    scram: ScramVerifier | None = None

    def allows(self, scope: str) -> bool:
        """The scope `master` is never among them."""
        return scope in self.scopes or ("*" in self.scopes and scope in MAIL_SCOPES)


MAIL_SCOPES = ("imap", "pop3", "smtp")


@dataclass(frozen=True, slots=True)
class SecurityKey:
    """A WebAuthn credential. `raw_id`: the authenticator's name for it. `public_key`: COSE_Key (RFC 9052 §7).
    `attachment`: `platform` or `cross-platform`. `counter`: of its last use, 0 for keys without one.
    """

    id: str
    raw_id: bytes
    public_key: bytes = field(repr=False)
    counter: int
    description: str
    attachment: str
    created: datetime

    @property
    def shown(self) -> dict[str, str]:
        """To whom it belongs, in the API's words."""
        return {
            "id": self.id,
            "rawId": self.raw_id.hex(),
            "description": self.description,
            "authenticatorAttachment": self.attachment,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a WebAuthn challenge was given out for. `purpose`: `registration` or `authentication`. `rp_id`: the relying
    party. `origin`: of the web page that answers. `description`: of the key that is to be registered."""

    purpose: str
    rp_id: str
    origin: str
    attachment: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request comes from, for the log alone: the client's address, its session, its program."""

    ip: str = ""
    sess: str = ""
    app: str = ""


@dataclass(frozen=True, slots=True)
class AuthEvent:
    """An entry of the authlog. `about`: further fields by the names of the contract."""

    id: str
    key: str
    action: str
    result: str
    trace: Trace
    protocol: str
    created: datetime
    last: datetime
    expires: datetime
    events: int
    about: dict[str, object]
