"""What attempts leave of queued messages: results that come at the same time are one command."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pymongo import UpdateOne

from duckmail.runtime.batch import Batched
from storage.mongo.client import Collection, Document, operation


@dataclass(frozen=True, slots=True, eq=False)
class _Ending:
    query: Document
    update: Document
    trace: Document


class Endings:
    def __init__(self, queue: Collection) -> None:
        self._queue = queue
        self._batched: Batched[_Ending, bool] = Batched(self._write)

    async def write(self, query: Document, update: Document, trace: Document) -> bool:
        """Changes the one document that `query` finds by its `_id` and its lease, which `update` ends; whether it was
        there. May be repeated: `trace` are the fields that tell whether this was written before.

        Raises: Unavailable.
        """
        return await self._batched.get(_Ending(query, update, trace)) is True

    async def _write(self, endings: Sequence[_Ending]) -> Mapping[_Ending, bool]:
        async with operation():
            updates = [UpdateOne(ending.query, ending.update) for ending in endings]
            result = await self._queue.bulk_write(updates, ordered=False)
            if result.matched_count == len(endings):
                return dict.fromkeys(endings, True)
            # Some leases were lost, or ended by the same command before, whose answer never came.
            traces = [{"_id": ending.query["_id"], **ending.trace} for ending in endings]
            rows = await self._queue.find({"$or": traces}, {"_id": 1}).to_list(None)
        found = {row["_id"] for row in rows}
        return {ending: ending.query["_id"] in found for ending in endings}
