"""(uid, flags, modseq) rows straight from BSON: all Int64, so every document has the same length and layout."""

import asyncio
import struct
from array import array
from collections.abc import AsyncIterable, Mapping
from typing import cast

import bson
from pymongo.asynchronous.client_session import AsyncClientSession

from storage.mongo.client import Collection, Document
from storage.views import Rows

PROJECTION = {"_id": 0, "uid": 1, "flags": 1, "modseq": 1}
SLICE = 1_000  # rows unpacked between two turns of the loop


async def read_rows(batches: AsyncIterable[bytes]) -> Rows:
    """The rows of raw batches, ascending by uid; yields to the loop every 1,000 rows."""
    rows = Rows()
    async for batch in batches:
        row = _layout(batch)
        for start in range(0, len(batch), row.stride * SLICE):
            columns = list(zip(*row.format.iter_unpack(batch[start : start + row.stride * SLICE]), strict=True))
            rows.uids.extend(columns[row.uid])
            rows.flags.extend(columns[row.flags])
            rows.modseqs.extend(columns[row.modseq])
            await asyncio.sleep(0)
    return await asyncio.to_thread(_by_uid, rows)


class _Layout:
    def __init__(self, names: list[str]) -> None:
        # BSON: int32 length, then per field one octet of type, the name with its NUL, int64; one NUL ends it.
        self.format = struct.Struct("<4x" + "".join(f"{len(name) + 2}xq" for name in names) + "x")
        self.stride = self.format.size
        self.uid, self.flags, self.modseq = names.index("uid"), names.index("flags"), names.index("modseq")


_layouts: dict[tuple[str, ...], _Layout] = {}


def _layout(batch: bytes) -> _Layout:
    (length,) = struct.unpack_from("<i", batch)
    names = tuple(bson.decode(batch[:length]))
    layout = _layouts.get(names)
    if layout is None:
        layout = _layouts[names] = _Layout(list(names))
    return layout


def _by_uid(rows: Rows) -> Rows:
    uids = rows.uids
    if all(uids[index] < uids[index + 1] for index in range(len(uids) - 1)):
        return rows
    order = sorted(range(len(uids)), key=uids.__getitem__)
    return Rows(
        array("I", [uids[index] for index in order]),
        array("q", [rows.flags[index] for index in order]),
        array("q", [rows.modseqs[index] for index in order]),
    )


def raw_rows(
    messages: Collection, query: Mapping[str, object], session: AsyncClientSession | None = None
) -> AsyncIterable[bytes]:
    """Raw batches of the rows of `query`, which names user and mailbox: read from the covering index alone."""
    cursor = messages.find_raw_batches(query, PROJECTION, session=session, hint=MODSEQ_INDEX, batch_size=20_000)
    return cast("AsyncIterable[bytes]", cursor)


MODSEQ_INDEX = [("user", 1), ("mailbox", 1), ("modseq", 1), ("uid", 1), ("flags", 1)]

INDEXES: tuple[tuple[str, list[tuple[str, int]], Document], ...] = (
    ("messages", [("user", 1), ("mailbox", 1), ("uid", 1)], {"unique": True}),
    ("messages", MODSEQ_INDEX, {}),
    ("messages", [("content", 1)], {}),
    ("expunged", [("user", 1), ("mailbox", 1), ("modseq", 1)], {}),
    ("archived", [("user", 1), ("archived", -1)], {}),
    ("archived", [("content", 1)], {}),
)
