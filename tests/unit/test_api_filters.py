"""Filters, autoreplies and lists of domains by the API: what is stored, shown and refused."""

from collections.abc import AsyncIterator

import pytest

from duckmail.services.addressregister import AddressRegister
from tests.support.api import Api, open_api

NOBODY = "0" * 24
BAD = "InputValidationError"


@pytest.fixture
async def api(mongo_uri: str, database_name: str) -> AsyncIterator[Api]:
    async with open_api(mongo_uri, database_name) as opened:
        yield opened


@pytest.fixture
async def anna(api: Api) -> str:
    return await api.make_user("anna", address="anna@example.com", filters=3)


async def token_of(api: Api, username: str) -> str:
    signed = await api.call("POST", "/authenticate", {"username": username, "password": "secretvalue", "token": True})
    return str(signed.json["token"])


async def made(api: Api, user: str, query: object, action: object, **more: object) -> str:
    reply = await api.call("POST", f"/users/{user}/filters", {"query": query, "action": action, **more})
    assert reply.status == 200, reply.text
    return str(reply.json["id"])


@pytest.mark.parametrize(
    ("body", "status", "code", "details"),
    [
        pytest.param({}, 400, BAD, {"query", "action"}, id="both-are-needed"),
        pytest.param({"query": {"size": "x"}, "action": {}}, 400, BAD, {"query,size"}, id="number"),
        pytest.param({"query": {"to": "x" * 256}, "action": {}}, 400, BAD, {"query,to"}, id="long"),
        pytest.param({"query": {"other": "x"}, "action": {}}, 400, BAD, {"query,other"}, id="unknown"),
        pytest.param({"query": {}, "action": {"targets": ["x"]}}, 400, BAD, {"action,targets,0"}, id="target"),
        pytest.param({"query": {}, "action": {"mailbox": NOBODY}}, 404, "NoSuchMailbox", set(), id="mailbox"),
        pytest.param({"query": {"size": -1}, "action": {"seen": False}}, 200, None, set(), id="fine"),
    ],
)
async def test_what_a_filter_may_be(
    api: Api, anna: str, body: object, status: int, code: str | None, details: set[str]
) -> None:
    reply = await api.call("POST", f"/users/{anna}/filters", body)
    assert (reply.status, reply.json.get("code"), set(reply.json.get("details", ()))) == (status, code, details)


async def test_an_account_has_a_number_of_filters(api: Api, anna: str) -> None:
    for _ in range(3):
        await made(api, anna, {"subject": "x"}, {"seen": True})
    refused = await api.call("POST", f"/users/{anna}/filters", {"query": {}, "action": {}})
    assert (refused.status, refused.json["code"], refused.json["allowed"]) == (403, "TooMany", 3)


async def test_changes_are_merged_and_empty_values_unset(api: Api, anna: str) -> None:
    query = {"from": "a", "subject": "b", "ha": False, "size": -5}
    one = await made(api, anna, query, {"seen": True, "targets": ["x@y.example"]}, metaData={"k": 1})
    path = f"/users/{anna}/filters/{one}"
    assert (await api.call("PUT", path, {})).status == 200
    assert (await api.call("GET", path)).json["query"] == query
    await api.call("PUT", path, {"query": {"from": "", "size": "", "text": "t"}, "action": {"seen": "", "flag": False}})
    found = (await api.call("GET", path)).json
    assert found["query"] == {"subject": "b", "text": "t", "ha": False}
    assert found["action"] == {"flag": False, "targets": ["x@y.example"]}
    await api.call("PUT", path, {"action": {"targets": []}, "name": "N", "disabled": True})
    found = (await api.call("GET", path)).json
    assert (found["action"], found["name"], found["disabled"], found["metaData"]) == (
        {"flag": False},
        "N",
        True,
        {"k": 1},
    )


async def test_listings_are_in_words(api: Api, anna: str) -> None:
    (inbox,) = [row["_id"] async for row in api.accounts.database["mailboxes"].find({"path": "INBOX"})]
    targets = ["a@b.example", "smtps://user:password@relay.example:465", "https://k:secret@hook.example/x?token=1"]
    await made(
        api,
        anna,
        {"from": "a", "to": "b", "subject": "c", "listId": "d", "ha": True, "text": "e", "size": -7},
        {"seen": False, "delete": True, "mailbox": str(inbox), "targets": targets},
    )
    (row,) = (await api.call("GET", f"/users/{anna}/filters")).json["results"]
    assert row["query"] == [
        ["from", "(a)"], ["to", "(b)"], ["subject", "(c)"], ["listId", "(d)"], ["has attachment"], [False, '"e"'],
        ["smaller", 7],
    ]  # fmt: skip
    assert row["action"] == [
        ["do not mark as read"], ["delete it"], ["forward to", "a@b.example, smtps://relay.example, hook.example"],
        ["move to folder", '"INBOX"'],
    ]  # fmt: skip
    everywhere = (await api.call("GET", "/filters?forward=relay.example")).json
    assert (everywhere["total"], everywhere["results"][0]["user"]) == (1, anna)
    assert (await api.call("GET", "/filters?forward=.*")).json["total"] == 0


async def test_pages_of_all_filters(api: Api, anna: str) -> None:
    ids = [await made(api, anna, {"subject": f"{number}"}, {}) for number in range(3)]
    first = (await api.call("GET", "/filters?limit=2")).json
    second = (await api.call("GET", f"/filters?limit=2&next={first['nextCursor']}")).json
    back = (await api.call("GET", f"/filters?limit=2&previous={second['previousCursor']}")).json
    pages = [[row["id"] for row in page["results"]] for page in (first, second, back)]
    assert pages == [ids[:2], ids[2:], ids[:2]]


async def test_what_does_not_exist(api: Api, anna: str) -> None:
    for method, path, body, code in (
        ("GET", f"/users/{NOBODY}/filters", None, "UserNotFound"),
        ("POST", f"/users/{NOBODY}/filters", {"query": {}, "action": {}}, "UserNotFound"),
        ("GET", f"/users/{anna}/filters/{NOBODY}", None, "FilterNotFound"),
        ("PUT", f"/users/{anna}/filters/{NOBODY}", {}, "FilterNotFound"),
        ("DELETE", f"/users/{anna}/filters/{NOBODY}", None, "FilterNotFound"),
        ("PUT", f"/users/{NOBODY}/autoreply", {"text": "x"}, "UserNotFound"),
        ("DELETE", f"/domainaccess/{NOBODY}", None, "DomainNotFound"),
    ):
        reply = await api.call(method, path, body)
        assert (reply.status, reply.json["code"]) == (404, code), path
    assert (await api.call("DELETE", f"/users/{NOBODY}/autoreply")).status == 200
    assert (await api.call("GET", f"/users/{NOBODY}/autoreply")).json == {
        "success": True, "status": False, "name": "", "subject": "", "text": "", "html": "",
    }  # fmt: skip


async def test_another_accounts_are_out_of_reach(api: Api, anna: str) -> None:
    bert = await api.make_user("bert", address="bert@example.com")
    other = await made(api, bert, {"subject": "x"}, {"seen": True})
    (foreign,) = [
        row["_id"]
        async for row in api.accounts.database["mailboxes"].find({"path": "INBOX"})
        if str(row["user"]) == bert
    ]
    token = await token_of(api, "anna")
    for method, path, body, status in (
        ("GET", f"/users/{bert}/filters", None, 403),
        ("POST", f"/users/{bert}/filters", {"query": {}, "action": {}}, 403),
        ("GET", f"/users/{bert}/filters/{other}", None, 403),
        ("GET", f"/users/{anna}/filters/{other}", None, 404),
        ("PUT", f"/users/{anna}/filters/{other}", {"disabled": True}, 404),
        ("DELETE", f"/users/{anna}/filters/{other}", None, 404),
        ("POST", f"/users/{anna}/filters", {"query": {}, "action": {"mailbox": str(foreign)}}, 404),
        ("GET", f"/users/{bert}/autoreply", None, 403),
        ("PUT", f"/users/{bert}/autoreply", {"text": "x"}, 403),
        ("DELETE", f"/users/{bert}/autoreply", None, 403),
        ("GET", "/filters", None, 403),
        ("GET", "/domainaccess/staff/allow", None, 403),
        ("POST", "/domainaccess/staff/block", {"domain": "a.example"}, 403),
        ("DELETE", f"/domainaccess/{NOBODY}", None, 403),
    ):
        assert (await api.call(method, path, body, token)).status == status, (method, path)
    assert (await api.call("GET", f"/users/{anna}/filters", token=token)).status == 200


async def test_an_autoreply_is_merged(api: Api, anna: str) -> None:
    path = f"/users/{anna}/autoreply"
    first = await api.call("PUT", path, {"text": "Away", "start": "2030-01-01T00:00:00.000Z", "status": True})
    second = await api.call("PUT", path, {"subject": "S", "start": False, "end": "2031-01-01T00:00:00.000Z"})
    assert first.json["id"] == second.json["id"]
    found = (await api.call("GET", path)).json
    created = found.pop("created")
    assert found == {
        "success": True, "status": True, "name": "", "subject": "S", "text": "Away", "html": "",
        "end": "2031-01-01T00:00:00.000Z",
    }  # fmt: skip
    assert created
    assert (await api.call("GET", f"/users/{anna}")).json["autoreply"] is True
    await api.call("PUT", path, {"status": False})
    assert (await api.call("GET", f"/users/{anna}")).json["autoreply"] is False
    refused = await api.call("PUT", path, {"text": "x" * (128 * 1024 + 1), "start": "false"})
    assert set(refused.json["details"]) == {"text", "start"}


async def test_a_domain_is_in_one_list(api: Api) -> None:
    one = (await api.call("POST", "/domainaccess/Staff/allow", {"domain": "B.example"})).json["id"]
    await api.call("POST", "/domainaccess/staff/allow", {"domain": "a.example"})
    assert (await api.call("POST", "/domainaccess/STAFF/block", {"domain": "b.EXAMPLE"})).json["id"] == one

    async def listed(action: str) -> list[tuple[str, str]]:
        results = (await api.call("GET", f"/domainaccess/staff/{action}")).json["results"]
        return [(row["domain"], row["action"]) for row in results]

    assert (await listed("allow"), await listed("block")) == ([("a.example", "allow")], [("b.example", "block")])
    assert (await api.call("DELETE", f"/domainaccess/{one}")).json["deleted"] == one
    assert await listed("block") == []


async def test_the_register_is_searched_literally_and_latest_first(api: Api, anna: str) -> None:
    register: AddressRegister = api.services.address_register
    for address, name in (("one@a.example", "Wanda"), ("Two.X@a.example", "wand"), ("three@b.example", "")):
        register.note(anna, address, name)
        await register.flush()
    register.note(anna, "twox@a.example", "")  # the same without its dot
    await register.flush()

    async def found(query: str) -> list[str]:
        results = (await api.call("GET", f"/users/{anna}/addressregister?query={query}")).json["results"]
        return [row["address"] for row in results]

    assert await found("WAND") == ["twox@a.example", "one@a.example"]
    assert await found("@b.ex") == ["three@b.example"]
    assert await found(".*") == []


async def test_passwords_of_targets_are_sealed_and_never_shown(api: Api, anna: str) -> None:
    relay, masked = "smtps://user:hidden7@relay.example:465", "smtps://user:********@relay.example:465"
    one = await made(api, anna, {"subject": "x"}, {"targets": [relay]})
    path = f"/users/{anna}/filters/{one}"
    await api.call("PUT", f"/users/{anna}", {"targets": [relay]})
    body = {"address": "team@example.com", "targets": [relay]}
    team = (await api.call("POST", "/addresses/forwarded", body)).json["id"]
    other = await api.make_user("other", address="other@example.com", targets=[relay])
    for _ in range(2):  # as it was shown, it is given back
        answers = [
            await api.call("GET", shown)
            for shown in (path, "/filters", f"/users/{anna}", "/users", f"/users/{other}", "/addresses",
                          f"/addresses/forwarded/{team}")
        ]  # fmt: skip
        assert not any("hidden7" in answer.text or "sealed" in answer.text for answer in answers)
        assert all(masked in answer.text for answer in answers)
        for where, given in (
            (path, {"action": {"targets": [masked, "a@b.example"]}}),
            (f"/users/{anna}", {"targets": [masked]}),
            (f"/addresses/forwarded/{team}", {"targets": [masked]}),
        ):
            assert (await api.call("PUT", where, given)).status == 200
    database = api.accounts.database
    kept = [
        *(await database["filters"].find({}).to_list(None)),
        *(await database["users"].find({}).to_list(None)),
        *(await database["addresses"].find({"targets": {"$exists": True}}).to_list(None)),
    ]
    assert "hidden7" not in repr(kept)
    assert repr(kept).count("smtps://user:~sealed~") == 4
    refused = await api.call("PUT", path, {"action": {"targets": ["smtps://user:********@evil.example:465"]}})
    assert (refused.status, refused.json["error"]) == (400, "The password of a target is missing")
