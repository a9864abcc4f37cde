"""Contents against the parts they name, and against their own sizes."""

from collections.abc import AsyncIterator
from functools import partial

from duckmail.errors import Unavailable
from storage import sweep
from storage.blobs.framing import Framing
from storage.checks.difference import Counts, Difference, snapshot, walk
from storage.contents.contents import Contents
from storage.mongo.client import Database, Document

BATCH = 500

Part = tuple[bytes, int]  # hash, octets


def _outline(field: str) -> Document:
    """`field` as it is when it names a part, else only its octets' number: inline octets stay on the server."""
    return {"$cond": [{"$eq": [{"$type": field}, "binData"]}, {"size": {"$binarySize": field}}, field]}


_OUTLINE: Document = {
    "size": 1,
    "headersize": 1,
    "parts": 1,
    "header": _outline("$header"),
    "segments": {"$map": {"input": "$segments", "in": _outline("$$this")}},
    "fields": [_outline(f"${name}") for name in ("index", "envelope", "bodystructure")],
}


def examine(database: Database, contents: Contents, counts: Counts, *, deep: bool) -> AsyncIterator[Difference]:
    """All contents. `deep`: reads every octet of them. Raises: Unavailable."""
    return walk(partial(_batch, database, counts), BATCH, _where, partial(_read, contents) if deep else None)


async def _batch(database: Database, counts: Counts, last: object) -> tuple[list[Difference], list[Document]]:
    after: Document = {} if last is None else {"_id": {"$gt": last}}
    pipeline: list[Document] = [{"$match": after}, {"$sort": {"_id": 1}}, {"$limit": BATCH}, {"$project": _OUTLINE}]
    async with snapshot(database) as session:
        rows = await (await database["contents"].aggregate(pipeline, session=session)).to_list(None)
        hashes = list({sha256 for row in rows for sha256, _ in [*_named(row), *_listed(row)]})
        cursor = database["parts"].find({"_id": {"$in": hashes}}, {"length": 1}, session=session)
        lengths = {part["_id"]: int(part["length"]) async for part in cursor}
        identifiers = [row["_id"] for row in rows]
        named = await sweep.Contents(database).named(identifiers, session) if rows else set()
    counts.contents += len(rows)
    counts.unnamed_contents += len(rows) - len(named)
    return [difference for row in rows for difference in _compare(row, lengths)], rows


def _segments(row: Document) -> list[Document]:
    return [row["header"], *row["segments"]]


def _named(row: Document) -> list[Part]:
    """What the content is read from."""
    pieces: list[Document] = [piece for piece in [*_segments(row), *row["fields"]] if piece and "part" in piece]
    return [(piece["part"], int(piece["length"] if "length" in piece else piece["size"])) for piece in pieces]


def _listed(row: Document) -> list[Part]:
    """What the sweep takes for named."""
    return [(sha256, -1) for sha256 in row.get("parts", ())]


def _where(row: Document) -> str:
    return f"content {row['_id']}"


def _compare(row: Document, lengths: dict[bytes, int]) -> list[Difference]:
    found = []
    where = _where(row)
    size = sum(int(segment["size"]) for segment in _segments(row))
    if size != row["size"]:
        found.append(Difference(where, "size is not that of its segments", str(size), str(row["size"])))
    if row["headersize"] != row["header"]["size"]:
        found.append(Difference(where, "header size", str(row["header"]["size"]), str(row["headersize"])))
    found += [
        Difference(where, "framing of a part", str(piece["size"]), str(encoded))
        for piece in _segments(row)
        if "line" in piece and (encoded := _encoded(piece)) != piece["size"]
    ]
    named = _named(row)
    if {sha256 for sha256, _ in named} - {sha256 for sha256, _ in _listed(row)}:
        found.append(Difference(where, "names a part that its list of parts lacks"))
    for sha256, length in sorted(set(named)):
        if sha256 not in lengths:
            found.append(Difference(where, "its part does not exist", found=sha256.hex()))
        elif lengths[sha256] != length:
            found.append(Difference(where, f"length of part {sha256.hex()}", str(lengths[sha256]), str(length)))
    return found


def _encoded(piece: Document) -> int:
    """The octets of base64 that a part makes with its recorded framing."""
    characters = -(-int(piece["length"]) // 3) * 4
    return Framing(piece["line"], piece["eol"]).offset(characters)


async def _read(contents: Contents, row: Document) -> Difference | None:
    """Reads the content as a client would, all of it."""
    identifier = str(row["_id"])
    try:
        stored = (await contents.load([identifier])).get(identifier)
        if stored is None:
            return None  # swept since the snapshot
        octets = sum([len(piece) async for piece in stored.read()])
    except Unavailable as error:
        if not await contents.load([identifier]):
            return None
        return Difference(_where(row), "cannot be read", found=str(error.fields.get("error", error.text)))
    if octets == stored.size:
        return None
    return Difference(_where(row), "octets read", str(stored.size), str(octets))


async def count_unnamed(database: Database, counts: Counts) -> None:
    """Counts the texts of contents that are not there. Raises: Unavailable."""
    last: object = None
    while True:
        query = {} if last is None else {"_id": {"$gt": last}}
        async with snapshot(database) as session:
            cursor = database["texts"].find(query, {"_id": 1}, session=session).sort("_id", 1).limit(BATCH)
            texts = [row["_id"] async for row in cursor]
            found = database["contents"].find({"_id": {"$in": texts}}, {"_id": 1}, session=session)
            there = {row["_id"] async for row in found}
        counts.unnamed_texts += len(texts) - len(there)
        if len(texts) < BATCH:
            return
        last = texts[-1]
