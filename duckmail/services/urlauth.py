"""URLs that let others read one message, or a part of it (RFC 4467): who holds such a URL needs no other right.

The token is an HMAC of the URL under a key of the mailbox. Without the key nobody makes one; a new key ends them all.
"""

import hmac
import os
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import unquote

from duckmail.errors import NotFound, NotPermitted
from duckmail.model.account import Principal
from duckmail.model.mailbox import Mailbox
from duckmail.runtime.sealer import Sealer
from duckmail.services.mail import Mail
from storage.urlkeys import UrlKeys, seal_context
from storage.users import Users

KEY_OCTETS = 32
VERSION = "01"  # of the token: HMAC-SHA-256 of the URL up to its access identifier


class UrlAuth:
    """`mail`: the mailboxes of a principal."""

    def __init__(self, keys: UrlKeys, users: Users, sealer: Sealer, mail: Callable[[Principal], Mail]) -> None:
        self._keys = keys
        self._users = users
        self._sealer = sealer
        self._mail = mail

    async def token(self, principal: Principal, path: str, rump: str) -> str:
        """Authorises a URL of the principal's own mailbox: of another one's that is its owner's to do.

        Raises: NotFound, NotPermitted, InvalidInput, Unavailable.
        """
        mailbox = await self._own(principal, path)
        new = self._sealer.seal(os.urandom(KEY_OCTETS), seal_context(mailbox.id))
        sealed = await self._keys.ensure(principal.user, mailbox.id, new)
        return _token(self._sealer.unseal(sealed, seal_context(mailbox.id)), rump)

    async def reset(self, principal: Principal, path: str | None) -> None:
        """Ends all URLs of a mailbox, or of all of the account. Raises: NotFound, InvalidInput, Unavailable."""
        mailbox = None if path is None else (await self._own(principal, path)).id
        await self._keys.reset(principal.user, mailbox)

    async def _own(self, principal: Principal, path: str) -> Mailbox:
        mailbox = await self._mail(principal).mailbox(path)
        if mailbox.user != principal.user:
            raise NotPermitted
        return mailbox

    async def owner(self, username: str, path: str, rump: str, token: str) -> Mail:
        """The mail of the account whose URL it is, for reading what the URL names and nothing else.

        Raises: NotPermitted: it was not authorised, or is not any more; which is not said. Unavailable.
        """
        try:
            user = await self._users.by_username(username)
            principal = Principal(user.id, user.username, scope="imap")
            mail = self._mail(principal)
            mailbox = await self._own(principal, path)
        except NotFound:
            raise NotPermitted from None
        sealed = await self._keys.get(user.id, mailbox.id)
        if sealed is None or not user.active:
            raise NotPermitted
        right = _token(self._sealer.unseal(sealed, seal_context(mailbox.id)), rump)
        if not hmac.compare_digest(right.encode(), token.encode()):
            raise NotPermitted
        return mail


def permitted(principal: Principal, access: str, expire: datetime | None) -> bool:
    """RFC 4467 §3: this session may use a URL with this access identifier now. `submit+` is for submission servers,
    none of which signs in here."""
    if expire is not None and expire <= datetime.now(UTC):
        return False
    kind, plus, name = access.partition("+")
    if not plus:
        return kind.lower() in ("anonymous", "authuser")
    return kind.lower() == "user" and unquote(name).lower() == principal.username.lower()


def _token(key: bytes, rump: str) -> str:
    return VERSION + hmac.new(key, rump.encode("utf-8"), sha256).hexdigest()
