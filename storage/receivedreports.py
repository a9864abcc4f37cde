"""Reports that others sent about our domains, until they are old."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.errors import NotFound
from duckmail.mime.reportread import Report
from duckmail.model.receivedreport import ReceivedReport
from storage.mongo.client import Database, Document, object_id, operation

KEPT_SECONDS = 400 * 86_400  # more than a year, to compare with

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("reports", [("key", 1)], {"unique": True}),
    ("reports", [("domain", 1), ("_id", -1)], {}),
    ("reports", [("kind", 1), ("_id", -1)], {}),
    ("reports", [("kind", 1), ("domain", 1), ("_id", -1)], {}),
    ("reports", [("received", 1)], {"expireAfterSeconds": KEPT_SECONDS}),
)


class ReportRecords:
    def __init__(self, database: Database) -> None:
        self._reports = database["reports"]

    async def add(self, report: Report, verified: str) -> None:
        """Once, however often it comes from the same sender. Raises: Unavailable."""
        words = (report.kind, report.organization, report.domain, report.id, report.begin.isoformat(), verified)
        key = hashlib.sha256("\0".join(words).encode()).digest()
        document = {
            "kind": report.kind,
            "domain": report.domain,
            "organization": report.organization,
            "report": report.id,
            "begin": report.begin,
            "end": report.end,
            "passed": Int64(report.passed),
            "failed": Int64(report.failed),
            "rows": [_stored(row) for row in report.rows],
            "verified": verified,
            "received": datetime.now(UTC),
        }
        async with operation():
            await self._reports.update_one({"key": key}, {"$setOnInsert": {"_id": ObjectId(), **document}}, upsert=True)

    async def list(self, limit: int, before: str = "", *, kind: str = "", domain: str = "") -> list[ReceivedReport]:
        """The newest, or those older than the report `before`, without rows. Raises: NotFound (no id), Unavailable."""
        query: Document = {"_id": {"$lt": object_id(before)}} if before else {}
        query |= {name: value for name, value in (("kind", kind), ("domain", domain)) if value}
        async with operation():
            found = self._reports.find(query, {"rows": 0}).sort("_id", -1).limit(limit)
            documents = await found.to_list(None)
        return [_read(document) for document in documents]

    async def get(self, identifier: str) -> ReceivedReport:
        """Raises: NotFound, Unavailable."""
        async with operation():
            document = await self._reports.find_one({"_id": object_id(identifier)})
        if document is None:
            raise NotFound("No such report")
        found = _read(document)
        rows = tuple({name: _plain(value) for name, value in row.items()} for row in document["rows"])
        return replace(found, report=replace(found.report, rows=rows))


def _stored(row: Mapping[str, str | int]) -> Document:
    return {name: Int64(value) if isinstance(value, int) else value for name, value in row.items()}


def _plain(value: str | int) -> str | int:
    return int(value) if isinstance(value, int) else value


def _read(document: Mapping[str, Any]) -> ReceivedReport:
    report = Report(
        document["kind"],
        document["domain"],
        document["organization"],
        document["report"],
        document["begin"],
        document["end"],
        int(document["passed"]),
        int(document["failed"]),
        (),
    )
    return ReceivedReport(str(document["_id"]), document["received"], document["verified"], report)
