"""What came of TLS with the servers of each domain, counted by day until it is reported (RFC 8460)."""

from collections.abc import Mapping
from typing import Any

from duckmail.model.transport import Applied, Failure, Found, Session
from storage.daycounts import DayCounts, indexes
from storage.mongo.client import Database

INDEXES = indexes("tlsresults")


class TlsResults(DayCounts[Session]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, "tlsresults")

    def fields(self, kind: Session) -> dict[str, object]:
        return {
            "domain": kind.applied.domain,
            "found": kind.applied.found.value,
            "strings": list(kind.applied.strings),
            "mx": list(kind.applied.mx),
            "host": kind.host,
            "address": kind.address,
            "failure": kind.failure.value if kind.failure else "",
        }

    def read(self, row: Mapping[str, Any]) -> Session:
        return Session(
            Applied(row["domain"], Found(row["found"]), tuple(row["strings"]), tuple(row["mx"])),
            row["host"],
            row["address"],
            Failure(row["failure"]) if row["failure"] else None,
        )
