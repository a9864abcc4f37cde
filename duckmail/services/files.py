"""Files that an account keeps for the messages it writes."""

import hashlib
import mimetypes
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from duckmail.errors import InvalidInput, LimitReached, NoSuchFile, OverQuota, TooLarge
from duckmail.mime.written import octets_of
from duckmail.model.account import Principal
from duckmail.model.userfile import FileFields, FileQuery, FileSlice, UserFile
from duckmail.runtime.threads import Pool
from duckmail.services.access import require_account
from storage.blobs.files import CHUNK, NewFile
from storage.userfiles import UserFiles as Records
from storage.users import Users

LARGEST = 64 << 20  # octets of a file
MOST = 10_000  # files of an account
OCTET_STREAM = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Upload:
    """`encoding`: of a content that is text. `filename`, `content_type`: "" to be found."""

    content: str | bytes = field(repr=False)
    encoding: str = "utf8"
    filename: str = ""
    content_type: str = ""
    cid: str = ""


class UserFiles:
    """An account's files together may be as large as its mail; beside each other uploads may exceed that a little."""

    def __init__(self, records: Records, users: Users, threads: Pool) -> None:
        self._records = records
        self._users = users
        self._threads = threads

    async def upload(self, user: str, new: Upload, by: Principal) -> str:
        """The id of the file.

        Raises: NotFound (the account), InvalidInput, TooLarge, LimitReached, OverQuota, NotPermitted, Unavailable.
        """
        require_account(by, user)
        account = await self._users.get(user)
        try:
            octets, md5 = await self._threads.run(_read, new)
        except ValueError:
            raise InvalidInput("The content is not encoded as it says") from None
        if len(octets) > LARGEST:
            raise TooLarge("The file is too large")
        files, used = await self._records.used(user)
        if files >= MOST:
            raise LimitReached("Too many files")
        if used + len(octets) > account.allowed.quota:
            raise OverQuota
        filename = new.filename or f"upload-{datetime.now(UTC):%Y-%m-%d}.bin"
        content_type = new.content_type or mimetypes.guess_type(filename, strict=True)[0] or OCTET_STREAM
        named = FileFields(filename, content_type, new.cid.strip("<>"), md5)
        return await self._records.add(user, _file(octets), named)

    async def page(self, user: str, query: FileQuery, by: Principal) -> FileSlice:
        """Raises: NotFound (the account), NotPermitted, Unavailable."""
        require_account(by, user)
        found = await self._records.page(user, query)
        if not found.total:
            await self._users.get(user)
        return found

    async def open(self, user: str, file: str, by: Principal) -> tuple[UserFile, AsyncIterator[bytes]]:
        """The file and its octets. Raises: NoSuchFile, NotPermitted, Unavailable."""
        require_account(by, user)
        found = await self._records.get(user, file)
        return found, self._records.read(found)

    async def delete(self, user: str, file: str, by: Principal) -> None:
        """Raises: NoSuchFile, NotPermitted, Unavailable."""
        require_account(by, user)
        if not await self._records.delete(user, [file]):
            raise NoSuchFile

    async def remove(self, user: str, files: Sequence[str]) -> None:
        """Those of `files` that there are go. For callers that know whose they are. Raises: Unavailable."""
        if files:
            await self._records.delete(user, files)

    async def load(self, user: str, files: Sequence[str], most: int) -> list[tuple[UserFile, bytes]]:
        """Those of `files` that there are, with their octets, `most` in all. For callers that know whose they are.

        Raises: TooLarge, Unavailable.
        """
        found = await self._records.many(user, files) if files else []
        if sum(each.size for each in found) > most:
            raise TooLarge
        return [(each, b"".join([piece async for piece in self._records.read(each)])) for each in found]


def _read(new: Upload) -> tuple[bytes, str]:
    octets = octets_of(new.content, new.encoding)
    return octets, hashlib.md5(octets, usedforsecurity=False).hexdigest()


def _file(octets: bytes) -> NewFile:
    return NewFile(len(octets), lambda: (octets[start : start + CHUNK] for start in range(0, len(octets), CHUNK)))
