"""Mail on its way out: what waits in the outbound queue, and what came of each attempt."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, Flag, auto
from typing import Protocol

from duckmail.errors import DuckmailError
from duckmail.model.transport import Applied, Tlsa


class Origin(Enum):
    """Who put a message into the queue."""

    SUBMISSION = "submission"
    API = "api"
    FORWARD = "forward"
    AUTOREPLY = "autoreply"
    REPORT = "report"  # a delivery status notification


class State(Enum):
    """Where a recipient stands; all but WAITING are final."""

    WAITING = "waiting"
    DELIVERED = "delivered"  # stored in an account here
    RELAYED = "relayed"  # taken over by another server
    FAILED = "failed"
    REMOVED = "removed"  # by an administrator: nobody is told


class Notify(Flag):
    """When the sender wants to be told (RFC 3461 §4.1); no value stands for NOTIFY=NEVER."""

    NEVER = 0
    SUCCESS = auto()
    FAILURE = auto()
    DELAY = auto()


# RFC 3461 §4.1: without NOTIFY, failures are reported and delays may be.
NOTIFY_DEFAULT = Notify.FAILURE | Notify.DELAY

TOO_MANY = "4.5.3"  # RFC 3463 §3.6: more recipients than one transaction takes


@dataclass(frozen=True, slots=True)
class OutboundEnvelope:
    """What goes before the message in SMTP.

    `sender`: the reverse-path, "" for the null one. `body`: `7BIT`, `8BITMIME` or `BINARYMIME`. `ret`: `FULL`, `HDRS`
    or "" (RFC 3461 §4.3). `envid`: as received, in xtext (§4.4). `requiretls`: RFC 8689.
    """

    sender: str
    body: str = "7BIT"
    smtputf8: bool = False
    requiretls: bool = False
    ret: str = ""
    envid: str = ""


@dataclass(frozen=True, slots=True)
class QueueRecipient:
    """One recipient of a queued message. `orcpt`: as received, `addr-type;xtext`, or "" (RFC 3461 §4.2).

    `reply`: the last words about it, of the remote server or of our own; `status`: their RFC 3463 code; `host`: who
    spoke them, "" for us. `due`: of the next attempt. `delayed`: the sender was told of a delay. `via`: the URL of the
    one relay that takes the message for it, whosever the address is; "" for the way that mail to it goes.
    """

    address: str
    notify: Notify = NOTIFY_DEFAULT
    orcpt: str = ""
    state: State = State.WAITING
    attempts: int = 0
    due: datetime | None = None
    tried: datetime | None = None
    reply: str = ""
    status: str = ""
    host: str = ""
    delayed: bool = False
    via: str = field(default="", repr=False)


class Octets(Protocol):
    """The octets of a message; `duckmail.model.message.Content` is one."""

    @property
    def size(self) -> int: ...

    def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """One message in the queue. `user`: whose it is, "" for the server's own. `size`: octets, with the prefix.

    The message that is sent is `prefix` (whole header lines) followed by the content. `content`: its id, "" when the
    message is at its end (`ended`). `runner`: the process that works on it now, or worked on it when it died.
    `vouched`: of a forwarded one, its author is an account here, or this server.
    """

    id: str
    user: str
    origin: Origin
    envelope: OutboundEnvelope
    recipients: tuple[QueueRecipient, ...]
    content: str
    prefix: bytes = field(repr=False)
    size: int
    created: datetime
    held: bool = False
    runner: str = ""
    ended: datetime | None = None
    vouched: bool = False


class CannotFit(DuckmailError):
    """The message has no form that this server takes. `status`: RFC 3463."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class Fitting(Protocol):
    """Another form of a message, for a server that knows the extensions 8BITMIME and SMTPUTF8, or not."""

    async def __call__(self, *, eight_bit: bool, utf8: bool) -> "Letter":
        """Raises: CannotFit; DuckmailError: not for now."""
        ...


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it is sent. `read` may be called again for another attempt. `id`: in the queue.

    `user`: whose it is, "" for the server's own. `tls_waived`: it says `TLS-Required: No` (RFC 8689 §4).
    `fitting`: makes its other forms, None where there are none.
    """

    envelope: OutboundEnvelope
    size: int
    prefix: bytes = field(repr=False)
    content: Octets
    id: str = ""
    user: str = ""
    tls_waived: bool = False
    fitting: Fitting | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Destination:
    """A server to hand mail to. `tls`: `may`, `verify`, `never`, or `implicit` (from the first octet, verified); by
    the policy of a domain also `try` (verified if it can be, else as `may`), `encrypt` (by whatever certificate), or
    `dane` (verified by `tlsa`; `names`: which a certificate of usage 2 may have).

    `username`: "" for no login; with one, TLS has to verify. `applied`: the policy that made it so, to report on.
    """

    host: str
    port: int = 25
    tls: str = "may"
    username: str = ""
    password: str = field(default="", repr=False)
    tlsa: tuple[Tlsa, ...] = field(default=(), repr=False)
    names: tuple[str, ...] = ()
    applied: Applied | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to for one recipient.

    `code`: of the SMTP reply, 0 when there was none (no connection, time-out). `status`: RFC 3463. `text`: the reply's
    text, or our own words. `host`: who answered, "" when nobody did. `ambiguous`: the message was sent whole and its
    answer never came, so the remote server may have it: only then may a later attempt double it. `dsn`: the server
    knows DSN (RFC 3461) and was given the recipient's NOTIFY, so it reports a success itself. `early`: it is about the
    server and not about the message, which another server may take.
    """

    address: str
    code: int
    status: str
    text: str
    host: str = ""
    ambiguous: bool = False
    dsn: bool = False
    early: bool = False

    @property
    def accepted(self) -> bool:
        return 200 <= self.code < 300

    @property
    def full(self) -> bool:
        """Nothing is said of this recipient but that another transaction has to be begun for it."""
        return self.code == 452 and self.status == TOO_MANY

    @property
    def permanent(self) -> bool:
        return self.code >= 500
