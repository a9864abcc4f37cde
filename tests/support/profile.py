"""What MongoDB did for a test's calls, told by its own profiler: plans as they ran, not as an explain foretells."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from storage.mongo.client import Database


@dataclass(frozen=True, slots=True)
class Ran:
    """One operation. `keys`, `documents`: examined. `sorted`: in memory. `counts`: it only adds up."""

    collection: str
    command: dict[str, Any]
    plan: str
    keys: int
    documents: int
    sorted: bool
    counts: bool

    @property
    def scans(self) -> bool:
        return "COLLSCAN" in self.plan


@asynccontextmanager
async def profiled(database: Database) -> AsyncIterator[list[Ran]]:
    """Fills the list at the end with the operations that read something, in their order."""
    found: list[Ran] = []
    await database.command({"profile": 0})
    await database.drop_collection("system.profile")
    await database.command({"profile": 2})
    try:
        yield found
    finally:
        await database.command({"profile": 0})
        query = {"planSummary": {"$exists": True}}
        found += [_ran(row) async for row in database["system.profile"].find(query).sort("$natural", 1)]


def _ran(row: dict[str, Any]) -> Ran:
    command = row.get("command", {})
    pipeline = command.get("pipeline", [])
    return Ran(
        collection=row["ns"].partition(".")[2],
        command=command,
        plan=row["planSummary"],
        keys=row.get("keysExamined", 0),
        documents=row.get("docsExamined", 0),
        sorted=bool(row.get("hasSortStage")),
        counts=any("$group" in stage for stage in pipeline) or "count" in command,
    )
