"""What an account has in the outbound queue, and stored messages that it sends on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from duckmail.errors import (
    AccountDisabled,
    CommitUnknown,
    DailyLimitReached,
    DuckmailError,
    InvalidInput,
    NoSuchMessage,
    NotFound,
    Unavailable,
)
from duckmail.model.account import Principal, User
from duckmail.model.queue import Origin, OutboundEnvelope, QueuedMessage, QueueRecipient
from duckmail.services import names
from duckmail.services.access import require_account
from duckmail.services.addresses import forwards_key
from duckmail.services.compose import unique, wire_address
from duckmail.services.messages.access import owned_mailbox
from duckmail.services.queue.queue import NewMail, Queue
from duckmail.services.senders import Senders
from duckmail.services.sendinglimit import DAY
from storage.documents import to_details
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Forwarded:
    """`targets`: as (`mail` or `relay`, where), in order; "" and none when there was nothing to do."""

    queue_id: str
    targets: Sequence[tuple[str, str]]


class Outbound:
    """`hostname`: in Received."""

    def __init__(self, store: Store, queue: Queue, senders: Senders, hostname: str) -> None:
        self._store = store
        self._queue = queue
        self._senders = senders
        self._hostname = hostname

    async def forward(
        self, user: str, mailbox: str, uid: int, by: Principal, *, addresses: Sequence[str] = (), target: int = 0
    ) -> Forwarded:
        """Sends a stored message on as it is, from the account's main address.

        `target`: which of the targets that it went to when it arrived, from 1; 0 for none.

        Raises: NoSuchMailbox, NoSuchMessage, AccountDisabled, DailyLimitReached, InvalidInput, NotPermitted,
            Unavailable, CommitUnknown.
        """
        await owned_mailbox(self._store, user, mailbox, by)
        account = await self._store.users.get(user)
        if not account.active:
            raise AccountDisabled("User account is disabled", user=user)
        document = await self._store.listing.one(user, mailbox, uid)
        if document is None:
            raise NoSuchMessage
        former = to_details(document).forwarded
        targets = [("mail", address) for address in unique(map(wire_address, addresses))]
        if 0 < target <= len(former) and former[target - 1] not in targets:
            targets.insert(0, former[target - 1])
        if not targets:
            return Forwarded("", ())
        loaded = await self._store.contents.load([str(document["content"])])
        content = loaded.get(str(document["content"]))
        if content is None:
            raise Unavailable(error="a content is missing")
        recipients = [await self._recipient(kind, value, account) for kind, value in targets]
        plain = True
        async for piece in content.read():
            plain = plain and piece.isascii()
        named = all(each.address.isascii() for each in recipients) and account.address.isascii()
        mail = NewMail(
            user=user,
            origin=Origin.FORWARD,
            envelope=OutboundEnvelope(account.address, body="7BIT" if plain else "8BITMIME", smtputf8=not named),
            recipients=recipients,
            content=content,
            # What was put before it here says how it came to this account, and is nobody else's (RFC 5321 §4.4).
            prefix=self._received(),
        )
        return Forwarded(await self._submit(account, mail), targets)

    async def _recipient(self, kind: str, value: str, account: User) -> QueueRecipient:
        """Raises: InvalidInput, Unavailable."""
        if kind == "mail" and names.is_email(value, least=1) and await self._senders.reachable(value):
            return QueueRecipient(value)
        if kind != "mail" and account.address:
            return QueueRecipient(account.address, via=value)
        raise InvalidInput("The message cannot be sent on there")

    async def _submit(self, account: User, mail: NewMail) -> str:
        key, number = forwards_key(account.id), len(mail.recipients)
        count = await self._store.counters.incr(key, DAY, number)
        try:
            if count.value > account.allowed.forwards:
                raise DailyLimitReached(user=account.id)
            return await self._queue.submit_stored(mail)
        except CommitUnknown:
            raise
        except DuckmailError:
            await self._store.counters.incr(key, DAY, -number)
            raise

    def _received(self) -> bytes:
        """RFC 5321 §4.4."""
        return f"Received: by {self._hostname} with HTTP;\r\n\t{format_datetime(datetime.now(UTC))}\r\n".encode()

    async def waiting(self, user: str, ids: Sequence[str]) -> list[QueuedMessage]:
        """Those of `ids` that are the account's and not at their end. For callers that know whose account it is.

        Raises: Unavailable.
        """
        return await self._store.queue.of_user(user, ids) if ids else []

    async def remove(self, user: str, identifier: str, by: Principal) -> None:
        """Ends a message of the account in the queue; nobody is told.

        Raises: NotFound: it is at its end, or another's. InUse: it is being sent. NotPermitted, Unavailable.
        """
        require_account(by, user)
        if not await self._store.queue.of_user(user, [identifier]):
            raise NotFound("Queue entry not found")
        await self._queue.remove(identifier)
