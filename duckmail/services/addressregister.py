"""Whom an account has had mail from or written to: noted beside the mail, a little later, and read by webmails.

It is a convenience: what there is too much of is left out, and what is not written yet when a process dies is lost.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from duckmail.errors import DuckmailError
from duckmail.model.account import Principal, User
from duckmail.model.address import normalise, view
from duckmail.runtime.log import event
from duckmail.services.access import require_account
from storage.addressregister import Correspondent

NOTE_SECONDS = 5.0  # how late it is written
MOST = 1000  # that are written at once; what comes beyond is left out
LONGEST_NAME = 255  # characters
LONGEST_ADDRESS = 320

_logger = logging.getLogger("duckmail.addressregister")


class Users(Protocol):
    """What is needed of `storage.users.Users`."""

    async def get(self, user: str, /) -> User: ...


class Register(Protocol):
    """What is needed of `storage.addressregister.AddressRegister`."""

    async def find(self, user: str, text: str, limit: int, /) -> list[Correspondent]: ...

    async def note(self, seen: Mapping[tuple[str, str], tuple[str, str]], /) -> None: ...


class AddressRegister:
    def __init__(self, register: Register, users: Users) -> None:
        self._register = register
        self._users = users
        self._seen: dict[tuple[str, str], tuple[str, str]] = {}

    async def find(self, user: str, text: str, limit: int, by: Principal) -> list[Correspondent]:
        """Raises: NotFound (the user), NotPermitted, Unavailable."""
        require_account(by, user)
        await self._users.get(user)
        return await self._register.find(user, text, limit)

    def note(self, user: str, address: str, name: str = "") -> None:
        """The account has to do with this address."""
        if len(self._seen) < MOST and "@" in address and len(address) <= LONGEST_ADDRESS:
            self._seen[user, view(address)] = (normalise(address), name[:LONGEST_NAME])

    async def keep(self) -> None:
        """Writes what was noted, for ever."""
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes what was noted."""
        if not self._seen:
            return
        seen, self._seen = self._seen, {}
        try:
            await self._register.note(seen)
        except DuckmailError as error:
            event(_logger, logging.INFO, "not noted", number=len(seen), fields=error.fields)
