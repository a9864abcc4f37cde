"""What came of DMARC for the mail in the name of each domain, counted by day until it is reported (RFC 9990)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from duckmail.model.dmarcreport import Evaluated, Method
from duckmail.model.mailauth import Published
from storage.daycounts import DayCounts, indexes
from storage.mongo.client import Database

INDEXES = indexes("dmarcresults")


class DmarcResults(DayCounts[Evaluated]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, "dmarcresults")

    def fields(self, kind: Evaluated) -> dict[str, object]:
        return {"domain": kind.published.domain, **asdict(kind)}

    def read(self, row: Mapping[str, Any]) -> Evaluated:
        return Evaluated(
            published=Published(**row["published"]),
            source=row["source"],
            disposition=row["disposition"],
            dkim=row["dkim"],
            spf=row["spf"],
            author=row["author"],
            sender=row["sender"],
            override=row["override"],
            signatures=tuple(Method(**each) for each in row["signatures"]),
            path=Method(**row["path"]) if row["path"] else None,
        )
