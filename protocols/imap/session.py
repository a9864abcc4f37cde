"""One IMAP session: what its commands see and change.

Nothing here waits for a lock of another session. A change is committed before anybody hears of it; a session hears of
it when its view changes, and says so to its client where the protocol lets it: before a tagged answer, or in IDLE.
The loop that reads commands is in `driver`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from enum import Enum, auto
from time import monotonic
from typing import Protocol

from duckmail.errors import DuckmailError, ReadOnly
from duckmail.model.account import Principal
from duckmail.model.sharing import CHANGES
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.auth import Auth
from duckmail.services.mail import Mail
from duckmail.services.sessions import Sessions
from duckmail.services.urlauth import UrlAuth
from protocols.imap.input import Input
from protocols.imap.metadatanews import MetadataNews
from protocols.imap.selected import NEVER_RECENT, Selected, Update
from protocols.imap.settings import ImapSettings
from protocols.imap.wire.framer import AFTER_LOGIN, BEFORE_LOGIN
from protocols.imap.writer import Writer
from protocols.net.connection import Connection

log = logging.getLogger("duckmail.imap")

SLICE = 500  # messages written before other sessions get their turn
CONDSTORE = "CONDSTORE"
IMAP4REV2 = "IMAP4REV2"
QRESYNC = "QRESYNC"
UIDONLY = "UIDONLY"
UTF8_ACCEPT = "UTF8=ACCEPT"


class State(Enum):
    """RFC 3501 §3."""

    NOT_AUTHENTICATED = auto()
    AUTHENTICATED = auto()
    SELECTED = auto()
    LOGOUT = auto()


class Notifying(Protocol):
    """NOTIFY in force (RFC 5465). `wake`: the selected mailbox has changed; it must neither block nor raise."""

    @property
    def metadata(self) -> MetadataNews: ...

    def wake(self) -> None: ...

    async def stop(self) -> None: ...


class Updating(Protocol):
    """The search contexts of the selected mailbox (RFC 5267). `wake`: it has changed, or the client was told so;
    neither blocks nor raises. `expunged`: before EXPUNGE. `refresh`: after FETCH and EXISTS."""

    def wake(self) -> None: ...

    def expunged(self) -> None: ...

    async def refresh(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ImapServices:
    """What the sessions of a server share.

    `mail`: the mailboxes of a principal. `user_slot`: a place for a session of a user id; LimitReached.
    `threads`: parse what is long (H7). `urls`: authorises URLs.
    """

    auth: Auth
    sessions: Sessions
    mail: Callable[[Principal], Mail]
    user_slot: Callable[[str], Awaitable[ExitStack]]
    budget: OctetBudget
    threads: Pool
    urls: UrlAuth


class Session:
    """`uploads`: octets of the literals that were streamed for the command in progress, one per literal; `upload_hold`
    keeps their share of the octet budget until that command is over. `wake` is called when the selected mailbox has
    changed, while IDLE runs; it must neither block nor raise. `end` is the driver's: ends the session, saying why."""

    def __init__(self, connection: Connection, services: ImapServices, settings: ImapSettings) -> None:
        self.connection = connection
        self.services = services
        self.settings = settings
        self.writer = Writer(connection, settings.write_timeout)
        self.input = Input(connection, self.writer)
        self.state = State.NOT_AUTHENTICATED
        self.principal: Principal | None = None
        self.selected: Selected | None = None
        self.enabled: set[str] = set()
        self.wake: Callable[[], None] | None = None
        self.end: Callable[[str], None] = self.bye
        self.notifying: Notifying | None = None
        self.contexts: Updating | None = None
        self.tag = ""  # of the command in progress
        self.uploads: list[bytearray] = []
        self.upload_hold = AsyncExitStack()
        self.login_ends = monotonic() + settings.login_timeout
        self._mail: Mail | None = None
        self._claimed = 0  # uidnext of the selected mailbox when \Recent was last claimed
        self._slot = ExitStack()
        self._pending: deque[Update] = deque()  # what the client is being told of the selected mailbox

    # Who

    @property
    def mail(self) -> Mail:
        """The mailboxes of the user; only in commands that need a login."""
        if self._mail is None:
            raise AssertionError("a command that needs a login ran without")
        return self._mail

    @property
    def actor(self) -> Principal:
        """Who has logged in; only in commands that need a login."""
        if self.principal is None:
            raise AssertionError("a command that needs a login ran without")
        return self.principal

    @property
    def logged_in(self) -> bool:
        return self.principal is not None

    @property
    def login_allowed(self) -> bool:
        """Passwords may be sent now: inside TLS, or where the configuration trusts the network."""
        return self.connection.tls or self.settings.plaintext_login

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Of SASL, those that may be used now."""
        return self.settings.sasl.names(self.connection.end_point) if self.login_allowed else ()

    @property
    def starttls_allowed(self) -> bool:
        return self.settings.starttls and self.connection.tls_available and not self.connection.tls

    async def log_in(self, principal: Principal, most: int) -> None:
        """`most`: IMAP sessions of the account. Raises LimitReached: it has as many, or too many of all protocols."""
        with ExitStack() as slot:
            slot.enter_context(await self.services.user_slot(principal.user))
            slot.enter_context(await self.services.sessions.connections.take(principal.user, most))
            slot.enter_context(self.services.sessions.joined(principal, self.end))
            self._slot = slot.pop_all()
        self.principal = principal
        self._mail = self.services.mail(principal)
        self.state = State.AUTHENTICATED
        self.input.framer.limits = AFTER_LOGIN

    async def log_out(self) -> None:
        """The connection as it was before the login, with as much time for the next one. Raises: as `deselect`."""
        await self.stop_notifying()
        await self.deselect()
        self._slot.close()
        self._slot = ExitStack()
        self.principal = self._mail = None
        self.enabled.clear()
        self.state = State.NOT_AUTHENTICATED
        self.input.framer.limits = BEFORE_LOGIN
        self.login_ends = monotonic() + self.settings.login_timeout

    # Extensions

    @property
    def utf8(self) -> bool:
        """Mailbox names are UTF-8 (RFC 6855 §3, RFC 9051 §5.1)."""
        return UTF8_ACCEPT in self.enabled or self.rev2

    @property
    def rev2(self) -> bool:
        """RFC 9051 §6.3.1: ESEARCH always, LIST in SELECT, nothing is \\Recent."""
        return IMAP4REV2 in self.enabled

    @property
    def condstore(self) -> bool:
        return CONDSTORE in self.enabled

    @property
    def qresync(self) -> bool:
        """RFC 7162 §3.2: expunges are told by UID."""
        return QRESYNC in self.enabled

    @property
    def uid_only(self) -> bool:
        """RFC 9586 §3: sequence numbers are neither told nor taken."""
        return UIDONLY in self.enabled

    def enable_condstore(self) -> None:
        """RFC 7162 §3.1: any CONDSTORE-enabling command; the first one in a selected mailbox tells HIGHESTMODSEQ."""
        if not self.condstore:
            self.enabled.add(CONDSTORE)
            if self.selected is not None:
                modseq = self.selected.view.mailbox.modseq
                self.writer.status("OK", "CONDSTORE is now enabled", f"HIGHESTMODSEQ {modseq}")

    # The selected mailbox

    @property
    def mailbox(self) -> Selected:
        """The selected mailbox; only in commands of the selected state."""
        if self.selected is None:
            raise AssertionError("a command of the selected state ran without a mailbox")
        return self.selected

    @property
    def lost(self) -> str:
        """Why the selected mailbox cannot stay selected; "" while it can.

        RFC 4314 §5.1.1: who may not read it any more MAY be told BYE. Nothing of it is told from then on.
        """
        if self.selected is None:
            return ""
        if self.selected.view.gone:
            return "The selected mailbox was deleted"
        return "" if "r" in self.selected.rights else "The selected mailbox is not shared with you any more"

    def writable(self) -> Selected:
        """The selected mailbox, for a command that changes it. Raises ReadOnly after EXAMINE."""
        if self.mailbox.read_only:
            raise ReadOnly
        return self.mailbox

    async def select(self, path: str, *, read_only: bool) -> Selected:
        """Opens and selects; nothing is selected when it fails. Raises: NotFound, Unavailable."""
        await self.deselect()
        view = await self.mail.open(path, self)
        # RFC 4314 §5.2: READ-ONLY for who has none of these rights.
        read_only = read_only or not any(self.mail.places.may(view.mailbox, right) for right in CHANGES)
        try:
            recent_from = NEVER_RECENT if self.rev2 else view.mailbox.recentuid
            if not read_only and recent_from < view.mailbox.uidnext:
                recent_from = await self.mail.claim_recent(view)
        except BaseException:
            self.mail.close_view(view, self)
            raise
        # From here to the end of SELECT's answer nothing waits: what it says is of one moment.
        self.selected = Selected(
            view,
            read_only=read_only,
            recent_from=recent_from,
            vanished=self.qresync,
            uid_only=self.uid_only,
            user=self.actor.user,
        )
        self._claimed = view.mailbox.uidnext
        self.state = State.SELECTED
        return self.selected

    def view_changed(self, expunged: Sequence[int]) -> None:
        """The view's word, right after its arrays changed."""
        if self.selected is not None:
            self.selected.view_changed(expunged)
        if self.wake is not None:
            self.wake()
        if self.notifying is not None:
            self.notifying.wake()
        if self.contexts is not None:
            self.contexts.wake()

    async def stop_notifying(self) -> None:
        """As after NOTIFY NONE."""
        notifying, self.notifying = self.notifying, None
        if notifying is not None:
            await notifying.stop()

    @property
    def selected_at(self) -> int:
        """UIDNEXT of the selected mailbox when it was selected."""
        return self._claimed

    async def deselect(self) -> None:
        """Leaves the selected mailbox, if any. What this session has announced is not \\Recent to the next one."""
        selected, self.selected = self.selected, None
        self._pending.clear()
        contexts, self.contexts = self.contexts, None
        if contexts is not None:  # RFC 5267 §4.3: updates cease when the mailbox is no longer selected
            await contexts.stop()
        if selected is None:
            return
        self.state = State.AUTHENTICATED
        told_all = selected.uidnext == selected.view.mailbox.uidnext and selected.tells_recent
        try:
            if told_all and selected.uidnext != self._claimed and not selected.read_only and not selected.view.gone:
                await self.mail.claim_recent(selected.view)
        except DuckmailError as error:  # at worst a message is \Recent once more
            event(log, logging.INFO, "recent not claimed", connection=self.connection.id, fields=error.fields)
        finally:
            self.mail.close_view(selected.view, self)

    async def write_updates(self, *, expunge: bool) -> None:
        """Tells the client what has changed in the selected mailbox, at its pace.

        What changes while this waits is left for the next time: what `updates` gave stays true in its order.
        """
        if self.selected is None or self.lost:
            return
        await self._write_pending(self.selected)  # what pushing has left
        self._take_updates(self.selected, expunge=expunge)
        await self._write_pending(self.selected)
        if self.qresync and self.selected.expunged:
            # RFC 7162 §3.2: it was told higher mod-sequences than those of expunges that it was not told of yet.
            self.writer.status("OK", "Expunges will be told", f"HIGHESTMODSEQ {self.selected.settled}")
        if self.contexts is not None:
            await self.contexts.refresh()

    def _take_updates(self, selected: Selected, *, expunge: bool) -> None:
        if self.contexts is not None:
            self.contexts.expunged()
        self._pending.extend(selected.updates(expunge=expunge))

    async def _write_pending(self, selected: Selected) -> None:
        while self._pending:
            self._write_slice(selected)
            if self._pending:
                await self.writer.room()
                await asyncio.sleep(0)

    def _write_slice(self, selected: Selected) -> None:
        count = min(SLICE, len(self._pending))
        self.writer.updates(selected, [self._pending.popleft() for _ in range(count)], modseq=self.condstore)

    def push_updates(self, *, expunge: bool = True) -> bool:
        """The same from a call that cannot wait: one slice; whether there is more. In IDLE EXPUNGE may be sent.

        New changes are only asked for when the last ones are out: their sequence numbers build on those.
        """
        if self.selected is None or self.lost:
            return False
        if not self._pending:
            self._take_updates(self.selected, expunge=expunge)
        self._write_slice(self.selected)
        self.writer.push()
        if self.contexts is not None:
            self.contexts.wake()
        return bool(self._pending) or self.selected.has_updates()

    @property
    def half_pushed(self) -> bool:
        """`push_updates` has begun to tell of changes that it must go on with."""
        return bool(self._pending)

    async def end_upload(self) -> None:
        """Lets go of the streamed literals and their share of the octet budget."""
        self.uploads.clear()
        await self.upload_hold.aclose()

    # The end

    def bye(self, text: str, code: str = "") -> None:
        """The session is over: the driver closes the connection after the command in progress."""
        if self.state is not State.LOGOUT:
            self.writer.status("BYE", text, code)
            self.state = State.LOGOUT

    async def close(self) -> None:
        """Gives back all that the session holds; the connection is not its own."""
        try:
            await self.stop_notifying()
            await self.deselect()
        finally:
            await self.end_upload()
            self._slot.close()
