"""Accounts exported and imported, by the one role that may: what it gets holds everybody's mail."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from duckmail.errors import NotPermitted
from duckmail.model.account import Principal
from storage.store import Store
from storage.transfer import Export, Import, Transferred

_ROLES = frozenset({"root", "export"})


class Transfer:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._importing = asyncio.Lock()  # one at a time: each holds a message in memory

    async def export(self, users: Sequence[str], tags: Sequence[str], by: Principal) -> AsyncIterator[bytes]:
        """`users` and all accounts with one of `tags`, as a file; an empty one when there are none.

        Raises: NotPermitted, Unavailable.
        """
        _require(by)
        export = Export(self._store)
        return export.write(await export.find(users, tags))

    async def load(self, octets: AsyncIterator[bytes], by: Principal) -> Transferred:
        """Reads a file of `export`; what is there already stays as it is.

        Raises: InvalidInput: it is no such file, or not all of one; what came before stays. NotPermitted, Unavailable.
        """
        _require(by)
        async with self._importing:
            return await Import(self._store, octets).run()


def _require(by: Principal) -> None:
    """The API's table keeps `root` out: there it is the server itself. Raises: NotPermitted."""
    if by.role not in _ROLES:
        raise NotPermitted("Not enough privileges")
