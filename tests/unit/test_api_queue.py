"""`/duckmail/queue`: the outbound queue by the API, and who may."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.api import Api, open_api

NOBODY = "0" * 24


@pytest.fixture
async def api(mongo_uri: str, database_name: str) -> AsyncIterator[Api]:
    async with open_api(mongo_uri, database_name) as opened:
        yield opened


async def queued(api: Api, user: str, *to: str) -> str:
    letter = {"to": [{"address": each} for each in to], "subject": "s", "text": "t"}
    answer = await api.call("POST", f"/users/{user}/submit", letter)
    identifier: str = answer.json["message"]["queueId"]
    return identifier


async def one(api: Api, identifier: str) -> dict[str, Any]:
    answer = await api.call("GET", f"/duckmail/queue/{identifier}")
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


async def test_what_is_done_by_hand(api: Api) -> None:
    anna = await api.make_user("anna")
    first, second = [await queued(api, anna, f"{name}@away.example") for name in ("b", "c")]
    page = (await api.call("GET", "/duckmail/queue?limit=1")).json
    assert [each["id"] for each in page["results"]] == [first]
    rest = (await api.call("GET", f"/duckmail/queue?limit=1&next={page['nextCursor']}")).json
    assert ([each["id"] for each in rest["results"]], rest["nextCursor"]) == ([second], False)
    assert (page["page"], rest["page"], rest["previousCursor"]) == (1, 2, False)
    found = await one(api, first)
    assert (found["user"], found["origin"], found["held"], found["ended"]) == (anna, "api", False, False)
    assert [(each["address"], each["state"]) for each in found["recipients"]] == [("b@away.example", "waiting")]
    assert "subject" not in repr(found).lower()

    path = f"/duckmail/queue/{first}"
    assert (await api.call("PUT", path, {"held": True})).json == {"success": True}
    assert (await one(api, first))["held"] is True
    assert (await api.call("PUT", path, {"held": False})).json == {"success": True}
    assert (await one(api, first))["held"] is False
    assert (await api.call("POST", f"{path}/retry", {})).json == {"success": True, "due": True}
    assert (await api.call("DELETE", f"{path}?notify=true")).json == {"success": True}
    found = await one(api, first)
    assert (found["recipients"][0]["state"], bool(found["ended"])) == ("failed", True)
    results = (await api.call("GET", "/duckmail/queue")).json["results"]
    assert [(each["origin"], each["recipients"][0]["address"]) for each in results] == [
        ("api", "c@away.example"),
        ("report", "anna@example.com"),
    ], "the sender is told"
    assert first in {each["id"] for each in (await api.call("GET", "/duckmail/queue?ended=true")).json["results"]}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "", None), ("PUT", "", {"held": True}), ("POST", "/retry", {}), ("DELETE", "", None)],
    ids=["read", "hold", "retry", "remove"],
)
async def test_refusals(api: Api, method: str, path: str, body: dict[str, Any] | None) -> None:
    missing = await api.call(method, f"/duckmail/queue/{NOBODY}{path}", body)
    assert (missing.status, missing.json["code"]) == (404, "QueuedMessageNotFound")
    wrong = await api.call(method, f"/duckmail/queue/x{path}", body)
    assert (wrong.status, wrong.json["code"]) == (400, "InputValidationError")
    anna = await api.make_user("anna")
    identifier = await queued(api, anna, "b@away.example")
    sign_in = {"username": "anna", "password": "secretvalue", "token": True}
    token = (await api.call("POST", "/authenticate", sign_in)).json["token"]
    mine = await api.call(method, f"/duckmail/queue/{identifier}{path}", body, token=token)
    assert (mine.status, mine.json["code"]) == (403, "MissingPrivileges")


async def test_what_is_being_sent_is_not_removed(api: Api) -> None:
    identifier = await queued(api, await api.make_user("anna"), "b@away.example")
    await api.store.queue.claim_one(identifier, "somebody")
    busy = await api.call("DELETE", f"/duckmail/queue/{identifier}")
    assert (busy.status, busy.json["code"]) == (409, "MessageBeingSent")
    assert (await api.call("POST", f"/duckmail/queue/{identifier}/retry", {})).json["due"] is False
    assert (await one(api, identifier))["sending"] is True
