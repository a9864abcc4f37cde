"""The envelope of a message on its way in, who it is for, and what became of it."""

from dataclasses import dataclass

from duckmail.errors import DuckmailError
from duckmail.model.account import NO_QUOTA, Quota
from duckmail.model.message import Appended
from duckmail.model.queue import NOTIFY_DEFAULT, Notify
from duckmail.model.rules import Rules


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the sending side said beside the message.

    `sender`: reverse-path as written, "" for the null one. `protocol`: `LMTP`, `ESMTP`, ... `host`: the peer's address.
    `helo`: what it called itself. `size`: octets as declared, 0 when not. `body`: `7BIT`, `8BITMIME`, `BINARYMIME`.
    `ident`: the relay's own name for the message (XFORWARD IDENT), or empty. `connection`: its id, for the log.
    `key`: names this message and no other, for its accounts to get it once; b"": its octets do, if they can.
    `client_address`, `client_helo`: of whom the relay has the message from, as it says (XFORWARD,
    XCLIENT), or empty.
    `trusted`: what the relay says of the client, and what the header says of spam, comes from one that may say so.
    `vouched`: its author is an account here, which was checked when it was sent, or this server.
    `requiretls`: as it was taken, it goes on and is answered to under TLS alone (RFC 8689).
    `direct`: the peer is the client itself, no relay of ours: it may be anybody, and what it sends may be refused.
    """

    sender: str
    protocol: str = "LMTP"
    host: str = ""
    helo: str = ""
    tls: bool = False
    size: int = 0
    body: str = "7BIT"
    smtputf8: bool = False
    requiretls: bool = False
    ident: str = ""
    connection: str = ""
    key: bytes = b""
    trusted: bool = False
    vouched: bool = False
    client_address: str = ""
    client_helo: str = ""
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Recipient:
    """A resolved recipient: `address` as the sender wrote it, `account` the id of the user it belongs to.

    `inbox`: the id of its INBOX. `quota`: what this account may hold, as far as a limit is within reach.
    `targets`: of an address without an INBOX, the addresses that its mail goes on to; `account` is then the address's
    own id. `bounces`: it takes mail of the null sender alone.
    `rules`: what else decides about mail of this account, None for nothing. `spam_level`: as accounts have it.
    `received_max`: messages a minute, 0 for no limit. `notify`: what the sender wants to be told (RFC 3461 §4.1).
    """

    address: str
    account: str
    inbox: str = ""
    quota: Quota = NO_QUOTA
    targets: tuple[str, ...] = ()
    bounces: bool = False
    rules: Rules | None = None
    spam_level: int = 50
    received_max: int = 0
    notify: Notify = NOTIFY_DEFAULT

    @property
    def owner(self) -> str:
        """The account, "" for an address that only forwards, and for bounces."""
        return "" if self.targets else self.account


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the message for one recipient: where it is stored, durably, or the error; neither when it was
    forwarded or, as a filter wants it, dropped."""

    recipient: Recipient
    appended: Appended | None = None
    error: DuckmailError | None = None
