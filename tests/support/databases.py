"""Databases of tests: an emptied one serves again, since building the schema takes longer than most tests."""

import os
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

import pymongo
from redis import Redis

from storage.catalog import COLLECTIONS, INDEXES, MIGRATIONS

MOST_FILES = 14_000  # of mongod: many systems let a process open 20,000
MOST_DOCUMENTS = 20_000  # in one collection: more are faster dropped than deleted

Client = pymongo.MongoClient[dict[str, Any]]


def _schema() -> dict[str, set[str]]:
    """The names of the indexes of each collection."""
    names: dict[str, set[str]] = {collection: {"_id_"} for collection in COLLECTIONS}
    for collection, keys, options in INDEXES:
        default = "_".join(f"{field}_{direction}" for field, direction in keys)
        names.setdefault(collection, {"_id_"}).add(str(options.get("name", default)))
    return names


class Databases:
    """Gives each test a database that nobody else uses."""

    def __init__(self, client: Client, redis: Redis, mongod: int) -> None:
        """`mongod`: its process id."""
        self._client = client
        self._redis = redis
        self._mongod = mongod
        self._free: list[str] = []
        # The files of dropped databases stay open for 300 s, and until a checkpoint: a hundred for each test would be
        # more than a process may open, and that ends mongod.
        client.admin.command({"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 5, "syncdelay": 5.0})

    def take(self, test: str) -> str:
        """A database with the current schema and nothing else in it, or a new one."""
        return self._free.pop() if self._free else self.new(test)

    def new(self, test: str) -> str:
        """The name of a database that does not exist yet; MongoDB's names have at most 63 octets and few signs."""
        words = re.sub(r"[^A-Za-z0-9]+", "_", test)[:40].strip("_").lower()
        return f"t_{words}_{uuid.uuid4().hex[:8]}"

    def give_back(self, name: str) -> None:
        """Empties the database for the next test; drops one that a test built otherwise, and collections that are none
        of the schema's."""
        if self._is_current(name) and self._emptied(name):
            self._free.append(name)
        else:
            self.drop(name)

    def drop(self, name: str) -> None:
        self._client.drop_database(name)
        self._wait_for_files()

    def _is_current(self, name: str) -> bool:
        found = self._client[name]["schema"].find_one({"_id": "version"})
        latest = max((migration.version for migration in MIGRATIONS), default=1)
        if found is None or found["version"] != latest:
            return False
        schema, catalog = _schema(), self._catalog(name)
        for other in catalog.keys() - schema.keys():
            self._client[name].drop_collection(other)
            del catalog[other]
        return catalog == schema

    def _catalog(self, name: str) -> dict[str, set[str]]:
        found = self._client.admin.aggregate([{"$listCatalog": {}}, {"$match": {"db": name, "type": "collection"}}])
        return {row["name"]: {index["spec"]["name"] for index in row["md"]["indexes"]} for row in found}

    def _emptied(self, name: str) -> bool:
        database = self._client[name]
        for collection in self._used(name):
            if database[collection].estimated_document_count() > MOST_DOCUMENTS:
                return False
            keep: Mapping[str, Any] = {"_id": {"$ne": "version"}} if collection == "schema" else {}
            database[collection].delete_many(keep)
        keys = list(self._redis.scan_iter(match=f"*{name}:*", count=1000))
        if keys:
            self._redis.delete(*keys)
        return True

    def _used(self, name: str) -> list[str]:
        """The collections that hold a document: one question for all, since a test fills but a few."""
        first, *others = _schema()
        seen = {
            other: [{"$limit": 1}, {"$project": {"_id": 0, "of": {"$literal": other}}}] for other in (first, *others)
        }
        unions = [{"$unionWith": {"coll": other, "pipeline": seen[other]}} for other in others]
        return [row["of"] for row in self._client[name][first].aggregate([*seen[first], *unions])]

    def _wait_for_files(self) -> None:
        """Until mongod has closed enough of what was dropped; 90 s at most."""
        for _ in range(180):
            try:
                if len(os.listdir(f"/proc/{self._mongod}/fd")) < MOST_FILES:
                    return
            except OSError:  # it was started again meanwhile
                return
            time.sleep(0.5)
