"""What is stored of a message: the one place that decides, for every way into a mailbox.

- Where the account or the mailbox asks for it, a message is encrypted to the account's OpenPGP key. Drafts never are:
  they could not be written on.
- What is encrypted already stays as it is. So does what cannot be encrypted, as when the key has expired: mail is kept
  rather than lost, and the log says so.
- Nothing of a message is in the database before this has decided: what is to be encrypted is at no time there in plain.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from duckmail.errors import InvalidInput
from duckmail.model.message import Content, NewMessage
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.pgp import Pgp

AT_ONCE = 4  # messages of which a second and third copy is in memory

_ENCRYPTED = frozenset({"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})

_logger = logging.getLogger("duckmail.encryption")

C_co = TypeVar("C_co", bound=Content, covariant=True)
D = TypeVar("D", bound=Content)


class Examiner(Protocol[C_co]):
    """What is needed of `storage.contents.Contents`."""

    async def examine(self, raw: bytes | bytearray, /) -> C_co: ...


class Owner(Protocol):
    """Whose mail it is: `duckmail.model.account.User`, or his `Rules`."""

    @property
    def pub_key(self) -> str: ...

    @property
    def encrypt_messages(self) -> bool: ...


def key_for(owner: Owner, flags: Iterable[str], *, mailbox: bool) -> str:
    """The key that a message with these flags is encrypted to when it is stored; "" for none.

    `mailbox`: the one it goes to wants that.
    """
    wanted = owner.encrypt_messages or mailbox
    return owner.pub_key if wanted and "\\draft" not in map(str.lower, flags) else ""


class Encryption(Generic[C_co]):
    def __init__(self, contents: Examiner[C_co], pool: Pool) -> None:
        self._contents = contents
        self._pgp = Pgp(pool)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def stored(
        self, user: str, owner: Owner, new: NewMessage, *, mailbox: bool, sealed: C_co | None = None
    ) -> NewMessage:
        """`new` as it is stored in a mailbox of the account `user`. `mailbox`: see `key_for`.

        `sealed`: what `content` gave for its content, if that was asked before.

        Raises: Unavailable.
        """
        key = key_for(owner, new.flags, mailbox=mailbox)
        if not key:
            return new
        return replace(new, content=sealed or await self.content(user, new.content, key))

    async def content(self, user: str, content: D, key: str) -> C_co | D:
        """`content` encrypted to `key`; itself where it is encrypted already, or cannot be. Raises: Unavailable."""
        if content.index.nodes[0].media_type in _ENCRYPTED:
            return content
        async with self._turns:
            raw = b"".join([piece async for piece in content.read()])
            try:
                sealed = await self._pgp.encrypted(raw, key)
            except InvalidInput as error:
                event(_logger, logging.WARNING, "stored in plain", user=user, reason=error.text)
                return content
            return content if sealed is None else await self._contents.examine(sealed)
