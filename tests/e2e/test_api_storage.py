"""The tag Storage over HTTP: what goes in comes out, to its owner alone; nothing is left of what was deleted."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import FormData

from duckmail.services import files as service
from storage.blobs.files import CHUNK
from tests.support.api import Api


@pytest.fixture
async def files(api: Api) -> str:
    return f"/users/{await api.make_user()}/storage"


async def _octets(api: Api, path: str) -> tuple[bytes, str]:
    async with api.session.get(api.base + path, headers={"X-Access-Token": api.token}) as response:
        assert response.status == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        return await response.read(), response.headers["Content-Type"]


async def _upload(api: Api, files: str, **body: str) -> str:
    reply = await api.call("POST", files, body)
    assert reply.status == 200, reply.text
    identifier = reply.json["id"]
    assert isinstance(identifier, str)
    return identifier


@pytest.mark.parametrize(
    ("body", "octets", "content_type"),
    [
        pytest.param({"content": "grün"}, "grün".encode(), "application/octet-stream", id="text"),
        pytest.param(
            {"content": "Z3L8bg==", "encoding": "base64"}, b"gr\xfcn", "application/octet-stream", id="base64"
        ),
        pytest.param({"content": "00ff", "encoding": "hex"}, b"\x00\xff", "application/octet-stream", id="hex"),
        pytest.param({"content": "x", "filename": "a.PNG"}, b"x", "image/png", id="type-by-name"),
        pytest.param({"content": "x", "filename": "a.png", "contentType": "a/b"}, b"x", "a/b", id="own-type"),
        pytest.param({"content": "x", "contentType": "a/b\r\nX: y"}, b"x", "application/octet-stream", id="no-type"),
        pytest.param({"content": "x", "contentType": "text/html"}, b"x", "text/html", id="html"),
    ],
)
async def test_what_goes_in_comes_out(
    api: Api, files: str, body: dict[str, str], octets: bytes, content_type: str
) -> None:
    file = await _upload(api, files, **body)
    assert await _octets(api, f"{files}/{file}") == (octets, content_type)


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "message/rfc822"])
async def test_a_body_of_any_other_type_is_the_file(api: Api, files: str, kind: str) -> None:
    octets = bytes(range(256)) * 3 * (CHUNK // 256)  # three chunks
    reply = await api.call(
        "POST", f"{files}?filename=b.png", data=octets, headers={"Content-Type": kind, "X-Access-Token": api.token}
    )
    assert reply.status == 200, reply.text
    assert await _octets(api, f"{files}/{reply.json['id']}") == (octets, "image/png")
    (row,) = (await api.call("GET", files)).json["results"]
    assert (row["size"], row["md5"]) == (len(octets), hashlib.md5(octets, usedforsecurity=False).hexdigest())


async def test_a_form_with_a_file(api: Api, files: str) -> None:
    form = FormData({"contentType": "a/b"}, quote_fields=False)
    form.add_field("anything", b"\0octets", filename="grün.bin", content_type="x/y")
    reply = await api.call("POST", files, data=form)
    assert reply.status == 200, reply.text
    assert await _octets(api, f"{files}/{reply.json['id']}") == (b"\0octets", "a/b")
    assert (await api.call("GET", files)).json["results"][0]["filename"] == "grün.bin"


async def test_pages_by_name_both_ways(api: Api, files: str) -> None:
    for name in ("b", "a", "b", "c.x", "b", "A"):
        await _upload(api, files, content=name, filename=name)
    listed = (await api.call("GET", files)).json
    names = [row["filename"] for row in listed["results"]]
    assert (names, listed["total"]) == (["A", "a", "b", "b", "b", "c.x"], 6)
    ids = [row["id"] for row in listed["results"]]
    first = (await api.call("GET", f"{files}?limit=4")).json
    second = (await api.call("GET", f"{files}?limit=4&next={first['nextCursor']}")).json
    assert [row["id"] for row in first["results"] + second["results"]] == ids
    assert (second["page"], second["nextCursor"]) == (2, False)
    back = (await api.call("GET", f"{files}?limit=4&previous={second['previousCursor']}")).json
    assert [row["id"] for row in back["results"]] == ids[:4]
    assert back["previousCursor"] is False
    found = (await api.call("GET", f"{files}?query=.x")).json
    assert ([row["filename"] for row in found["results"]], found["total"], found["query"]) == (["c.x"], 1, ".x")
    assert (await api.call("GET", f"{files}?query=.*")).json["total"] == 0


async def test_a_listing_reads_along_its_index(api: Api, files: str) -> None:
    for name in "abcd":
        await _upload(api, files, content=name, filename=name)
    user = (await api.store.database["storage.files"].find_one({}))["user"]  # type: ignore[index]
    found = api.store.database["storage.files"].find({"user": user, "filename": {"$gt": "a"}})
    plan = await found.sort([("user", 1), ("filename", 1), ("_id", 1)]).limit(2).explain()
    assert "SORT'" not in str(plan["queryPlanner"]["winningPlan"])
    assert plan["executionStats"]["totalDocsExamined"] == 2


async def test_files_are_their_owners(api: Api, files: str) -> None:
    file = await _upload(api, files, content="mine")
    other = await api.make_user("bert")
    token = (
        await api.call(
            "POST", "/authenticate", {"username": "bert", "password": "secretvalue", "scope": "master", "token": True}
        )
    ).json["token"]
    for method, path in (("GET", f"{files}/{file}"), ("DELETE", f"{files}/{file}"), ("GET", files)):
        assert (await api.call(method, path, token=token)).json["code"] == "MissingPrivileges"
    for method in ("GET", "DELETE"):
        reply = await api.call(method, f"/users/{other}/storage/{file}", token=token)
        assert reply.json["code"] == "FileNotFound"
    assert (await _octets(api, f"{files}/{file}"))[0] == b"mine"


async def test_what_is_deleted_is_gone(api: Api, files: str) -> None:
    file = await _upload(api, files, content="x" * (CHUNK + 1))
    assert (await api.call("DELETE", f"{files}/{file}")).json == {"success": True}
    assert (await api.call("GET", f"{files}/{file}")).status == 404
    for name in ("storage.files", "storage.chunks"):
        assert await api.store.database[name].count_documents({}) == 0


async def test_files_of_a_removed_account_go(api: Api) -> None:
    user = await api.make_user("carl")
    await _upload(api, f"/users/{user}/storage", content="x")
    assert (await api.call("DELETE", f"/users/{user}")).status == 200
    past = datetime.now(UTC) - timedelta(days=2)
    record = await api.store.database["deletedusers"].find_one({})
    assert record is not None
    await api.store.users.removals.end(str(record["_id"]), api.store.committer)
    assert await api.store.database["storage.files"].count_documents({"user": {"$exists": True}}) == 0
    await api.store.files.sweep()
    assert await api.store.database["storage.chunks"].count_documents({}) == 1  # an upload may be that young
    await api.store.database["storage.files"].update_many({}, {"$set": {"uploadDate": past}})
    await api.store.files.sweep()
    for name in ("storage.files", "storage.chunks"):
        assert await api.store.database[name].count_documents({}) == 0


async def test_limits(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    files = f"/users/{await api.make_user(quota=1000)}/storage"
    await _upload(api, files, content="x" * 600)
    reply = await api.call("POST", files, {"content": "x" * 401})
    assert (reply.status, reply.json["code"]) == (400, "OverQuotaError")
    monkeypatch.setattr(service, "LARGEST", 10)
    assert (await api.call("POST", files, {"content": "x" * 11})).json["code"] == "InputValidationError"
    monkeypatch.setattr(service, "MOST", 1)
    reply = await api.call("POST", files, {"content": "x"})
    assert (reply.status, reply.json["code"]) == (403, "TooMany")
