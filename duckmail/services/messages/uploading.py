"""Messages that an account puts into a mailbox by the API: their octets, or what they are to be made of."""

import re
from dataclasses import dataclass, field, replace
from datetime import datetime

from duckmail.errors import AccountDisabled, DuckmailError, EmptyMessage, TooLarge
from duckmail.mime.base64 import ALPHABET
from duckmail.mime.written import octets_of
from duckmail.model.account import Principal
from duckmail.model.composition import Composition
from duckmail.model.message import Details, NewMessage
from duckmail.runtime.threads import Pool
from duckmail.services.compose import Composer
from duckmail.services.encryption import Encryption
from duckmail.services.messages.access import owned_mailbox
from duckmail.services.messages.changing import Changing
from storage.contents.prepared import PreparedContent
from storage.store import Store

_IN_BASE64 = ALPHABET + b"=\r\n\t "
_LF = re.compile(rb"\n")


@dataclass(frozen=True, slots=True)
class NewUpload:
    """`raw`: the message's octets, or text that stands for them; None where it is to be made of `composition`.

    `date`: the internal one. `replaces`: (mailbox, UID) of the message that goes for it. `bimi`: (domain, selector).
    """

    composition: Composition
    raw: str | bytes | None = field(default=None, repr=False)
    draft: bool = False
    unseen: bool = False
    flagged: bool = False
    date: datetime | None = None
    meta_data: str = field(default="", repr=False)
    bimi: tuple[str, str] | None = None
    replaces: tuple[str, int] | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        draft = self.draft or self.composition.reference is not None
        wanted = (("\\Seen", not self.unseen), ("\\Flagged", self.flagged), ("\\Draft", draft))
        return tuple(name for name, there in wanted if there)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """`replaced`: whether the former message went, None when there was none to go. `problem`: why it did not."""

    mailbox: str
    uid: int
    size: int
    replaced: bool | None = None
    problem: str = ""


class Uploading:
    """`largest`: octets of a message. `quota`: octets of accounts without their own, 0 for no limit."""

    def __init__(
        self,
        store: Store,
        composer: Composer,
        changing: Changing,
        encryption: Encryption[PreparedContent],
        threads: Pool,
        *,
        largest: int,
        quota: int,
    ) -> None:
        self._store = store
        self._composer = composer
        self._changing = changing
        self._threads = threads
        self._encryption = encryption
        self._largest = largest
        self._quota = quota

    async def upload(self, user: str, mailbox: str, new: NewUpload, by: Principal) -> Uploaded:
        """Raises: NoSuchMailbox, AccountDisabled, EmptyMessage, InvalidInput, TooLarge, OverQuota, NotPermitted,
        Unavailable, CommitUnknown.
        """
        box = await owned_mailbox(self._store, user, mailbox, by)
        account = await self._store.users.get(user)
        if not account.active:
            raise AccountDisabled("User account is disabled", user=user)
        if new.raw is None:
            composed = await self._composer.compose(account, new.composition)
            raw, details = composed.raw, composed.details
        else:
            raw, details = await self._threads.run(_octets, new.raw), _referring(new.composition)
            if not raw:
                raise EmptyMessage
        if len(raw) > self._largest:
            raise TooLarge
        content = await self._store.contents.examine(raw)
        message = NewMessage(
            content, new.flags, new.date, details=replace(details, meta_data=new.meta_data, bimi=new.bimi)
        )
        message = await self._encryption.stored(user, account, message, mailbox=box.encrypt_messages)
        quota = account.quota(self._quota)
        (kept,) = await self._store.append(user, box.id, [message], quota)
        uploaded = Uploaded(box.id, kept.uid, message.content.size)
        return await self._replace(user, uploaded, new.replaces) if new.replaces else uploaded

    async def _replace(self, user: str, uploaded: Uploaded, former: tuple[str, int]) -> Uploaded:
        mailbox, uid = former[0] or uploaded.mailbox, former[1]
        try:
            gone = await self._changing.remove(user, mailbox, [uid])
        except DuckmailError as error:
            return replace(uploaded, replaced=False, problem=error.text)
        return replace(uploaded, replaced=bool(gone), problem="" if gone else "Message was not found")


def _referring(composition: Composition) -> Details:
    reference = composition.reference
    return Details(reference=(reference.action.value, reference.mailbox, reference.uid) if reference else None)


def _octets(raw: str | bytes) -> bytearray:
    """CPU. A text of base64 digits alone is base64: no message's header is written in those."""
    if isinstance(raw, str):
        written = raw.encode("utf-8", "replace")
        in_base64 = bool(written) and not written.translate(None, _IN_BASE64)
        raw = octets_of(raw, "base64" if in_base64 else "utf8")
    # Where no line ends as in mail, it was written by a program that ends lines otherwise.
    if b"\r\n" not in raw and b"\n" in raw:
        raw = _LF.sub(b"\r\n", raw)
    return bytearray(raw)
