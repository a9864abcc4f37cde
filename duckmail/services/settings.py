"""Settings: read and changed by the API, and in force in every process within `SECONDS`.

Where one is set it holds at once; the other processes look every few seconds, with one read of a tiny collection.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from duckmail.errors import DuckmailError, NotFound
from duckmail.model.account import Principal
from duckmail.model.settings import BY_KEY, SETTINGS, Setting, Settings, Value
from duckmail.runtime.log import event
from duckmail.services.access import require_server
from storage.settings import SettingRecords

SECONDS = 5.0

_logger = logging.getLogger("duckmail.settings")


@dataclass(frozen=True, slots=True)
class Entry:
    """`custom`: somebody has set it."""

    setting: Setting
    value: Value
    custom: bool


class ServerSettings:
    """`configured`: by key, what the server's configuration says where nothing was set."""

    def __init__(
        self, records: SettingRecords, settings: Settings, configured: Mapping[str, Value] | None = None
    ) -> None:
        self._records = records
        self._settings = settings
        self._configured = configured or {}

    async def list(self, text: str, by: Principal) -> list[Entry]:
        """Those whose key has `text` in it. Raises: NotPermitted, Unavailable."""
        require_server(by)
        await self.look()
        return [self._entry(setting) for setting in SETTINGS if text in setting.key]

    async def get(self, key: str, by: Principal) -> Entry:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        if key not in BY_KEY:
            raise NotFound("Key was not found")
        await self.look()
        return self._entry(BY_KEY[key])

    async def put(self, key: str, value: object, by: Principal) -> None:
        """Raises: NotFound, InvalidInput, NotPermitted, Unavailable."""
        require_server(by)
        if key not in BY_KEY:
            raise NotFound("Key was not found")
        checked = BY_KEY[key].checked(value)
        await self._records.put(key, checked)
        await self.look()

    def _entry(self, setting: Setting) -> Entry:
        stored = self._settings.stored
        otherwise = self._configured.get(setting.key, setting.default)
        return Entry(setting, stored.get(setting.key, otherwise), setting.key in stored)

    async def look(self) -> None:
        """Raises: Unavailable: what held goes on to."""
        self._settings.replace(await self._records.all())

    async def keep(self) -> None:
        """For the life of the process."""
        while True:
            try:
                await self.look()
            except DuckmailError as error:
                event(_logger, logging.WARNING, "settings not read", fields=error.fields)
            await asyncio.sleep(SECONDS)
