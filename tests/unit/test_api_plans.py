"""Listings read along an index: nothing is scanned, nothing is sorted in memory, and no more is read than is shown."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from bson.int64 import Int64
from bson.objectid import ObjectId

from api.places import place_cursors
from duckmail.model.account import Principal
from duckmail.services.mail import Mail
from tests.support.api import Api, open_api
from tests.support.posted import Posted, open_posted
from tests.support.profile import Ran, profiled
from tests.support.stores import message

MANY = 100_000
SLICE = 10_000
ROWS = 1000
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def api(mongo_uri: str, new_database_name: str) -> AsyncIterator[Api]:
    async with open_api(mongo_uri, new_database_name) as opened:
        yield opened


async def multiply(posted: Posted, count: int) -> None:
    """Makes the INBOX's one message into `count`, straight in the database."""
    database = posted.api.store.database
    box = {"user": ObjectId(posted.user), "mailbox": ObjectId(posted.mailbox)}
    known = await database["messages"].find_one(box)
    assert known is not None
    for first in range(2, count + 1, SLICE):
        rows: list[dict[str, Any]] = []
        for uid in range(first, min(first + SLICE, count + 1)):
            new = ObjectId()
            moment = START + timedelta(seconds=uid)
            rows.append({**known, "_id": new, "emailid": new, "uid": Int64(uid), "modseq": Int64(uid), "idate": moment})
        await database["messages"].insert_many(rows, ordered=False)
    counters = {
        "uidnext": Int64(count + 1),
        "modseq": Int64(count + 1),
        "messages": Int64(count),
        "unseen": Int64(count),
    }
    await database["mailboxes"].update_one({"_id": ObjectId(posted.mailbox)}, {"$set": counters})


def check(ran: Sequence[Ran], collection: str, most: int) -> None:
    """`most`: keys and documents that one operation on `collection` may examine, unless it counts."""
    assert any(each.collection == collection for each in ran), ran
    for each in ran:
        assert not each.scans, each
        assert not each.sorted, each
        if each.collection == collection and not each.counts:
            assert (each.keys <= most, each.documents <= most) == (True, True), each


async def test_a_mailbox_of_100_000(api: Api) -> None:
    posted = await open_posted(api)
    await posted.post(message(1))
    await multiply(posted, MANY)
    async with profiled(api.store.database) as first:
        reply = await api.call("GET", f"{posted.messages}?limit=250")
    assert (reply.status, reply.json["total"], len(reply.json["results"])) == (200, MANY, 250)
    check(first, "messages", 251)

    middle = (START + timedelta(seconds=MANY // 2), MANY // 2)
    cursors = place_cursors(200, middle, middle, has_previous=True, has_next=True)
    for name, first_uid in (("next", MANY // 2 - 1), ("previous", MANY // 2 + 250)):
        async with profiled(api.store.database) as deep:
            reply = await api.call("GET", f"{posted.messages}?limit=250&{name}={cursors[f'{name}Cursor']}")
        assert (reply.status, len(reply.json["results"])) == (200, 250)
        assert reply.json["results"][0]["id"] == first_uid
        check(deep, "messages", 251)

    async with profiled(api.store.database) as one:
        reply = await api.call("GET", f"{posted.messages}/{MANY // 3}")
    assert (reply.status, reply.json["id"]) == (200, MANY // 3)
    check(one, "messages", 1)

    by_id = ("", f"mailbox={posted.mailbox}", "unseen=1")
    for query in (*by_id, "order=asc", f"order=desc&mailbox={posted.mailbox}", "order=desc&unseen=1"):
        path, follow = f"/users/{posted.user}/search?limit=250&{query}", ""
        for _ in range(2):
            async with profiled(api.store.database) as search:
                reply = await api.call("GET", path + follow)
            assert (reply.status, reply.json["total"], len(reply.json["results"])) == (200, MANY, 250)
            check(search, "messages", 251)
            follow = f"&next={reply.json['nextCursor']}"


async def test_search_pages_by_date_meet(api: Api) -> None:
    """Forward and back, over all mailboxes or one, with equal dates among them: each message once, in order."""
    posted = await open_posted(api)
    for number in range(1, 8):
        await posted.post(message(number), path="INBOX" if number % 3 else "Drafts")
    moment = {"$set": {"idate": START}}
    await api.store.database["messages"].update_many({"uid": {"$lt": 4}}, moment)
    inside = f"&mailbox={posted.mailbox}"
    for query in (
        "",
        inside,
        "&unseen=1",
        "&subject=number",
        "&subject=number&order=asc",
        "&order=asc",
        "&order=desc",
        "&order=asc&unseen=1",
        f"&order=desc&mailbox={posted.mailbox}",
    ):
        path = f"/users/{posted.user}/search?limit=2{query}"
        pages, follow, back = [], "", []
        while True:
            reply = (await api.call("GET", path + follow)).json
            pages.append([(row["mailbox"], row["id"]) for row in reply["results"]])
            if not reply["nextCursor"]:
                break
            follow = f"&next={reply['nextCursor']}"
        while reply["previousCursor"]:
            reply = (await api.call("GET", f"{path}&previous={reply['previousCursor']}")).json
            back.insert(0, [(row["mailbox"], row["id"]) for row in reply["results"]])
        whole = (await api.call("GET", path.replace("limit=2", "limit=250"))).json
        assert [*chain(*pages)] == [(row["mailbox"], row["id"]) for row in whole["results"]]
        assert whole["total"] == len(set([*chain(*pages)])) == (5 if "mailbox" in query else 7)
        assert back == pages[:-1]


async def test_a_cursor_of_another_search_is_refused(api: Api) -> None:
    posted = await open_posted(api)
    for number in range(3):
        await posted.post(message(number))
    path = f"/users/{posted.user}/search?limit=1&order=asc"
    inside = (await api.call("GET", f"{path}&mailbox={posted.mailbox}")).json["nextCursor"]
    across = (await api.call("GET", path)).json["nextCursor"]
    for wrong in (f"{path}&next={inside}", f"{path}&subject=number&next={inside}",
                  f"{path}&mailbox={posted.mailbox}&next={across}"):  # fmt: skip
        reply = await api.call("GET", wrong)
        assert (reply.status, reply.json["code"]) == (400, "InputValidationError")


async def _many_users(api: Api, user: str) -> str:
    known = await api.store.database["users"].find_one({"_id": ObjectId(user)})
    assert known is not None
    rows = [{**known, "_id": ObjectId(), "username": f"u{n}", "unameview": f"u{n}"} for n in range(ROWS)]
    await api.store.database["users"].insert_many(rows)
    return "/users"


async def _many_addresses(api: Api, user: str) -> str:
    known = await api.store.database["addresses"].find_one({"user": ObjectId(user)})
    assert known is not None
    rows = [
        {**known, "_id": ObjectId(), "address": f"a{n:05}@example.com", "addrview": f"a{n:05}@example.com"}
        for n in range(ROWS)
    ]
    await api.store.database["addresses"].insert_many(rows)
    return "/addresses"


async def _many_events(api: Api, user: str) -> str:
    await api.services.authlog.record(user, "authentication", "success")
    known = await api.store.database["authlog"].find_one({"user": ObjectId(user)})
    assert known is not None
    await api.store.database["authlog"].insert_many([{**known, "_id": ObjectId(), "key": str(n)} for n in range(ROWS)])
    return f"/users/{user}/authlog"


async def _many_archived(api: Api, user: str) -> str:
    posted = Posted(api, user, "", Mail(api.store, Principal(user, "anna")))
    posted.mailbox = await posted.path_id("INBOX")
    await posted.post(message(1))
    await api.call("DELETE", f"{posted.messages}/1")
    known = await api.store.database["archived"].find_one({"user": ObjectId(user)})
    assert known is not None
    await api.store.database["archived"].insert_many([{**known, "_id": ObjectId()} for _ in range(ROWS)])
    return f"/users/{user}/archived/messages"


@pytest.mark.parametrize(
    ("fill", "collection"),
    [
        pytest.param(_many_users, "users", id="users"),
        pytest.param(_many_addresses, "addresses", id="addresses"),
        pytest.param(_many_events, "authlog", id="authlog"),
        pytest.param(_many_archived, "archived", id="archived"),
    ],
)
async def test_other_listings(fill: Callable[[Api, str], Awaitable[str]], collection: str, api: Api) -> None:
    path, follow = await fill(api, await api.make_user()), ""
    for _ in range(2):
        async with profiled(api.store.database) as ran:
            reply = await api.call("GET", f"{path}?limit=50{follow}")
        assert (reply.status, len(reply.json["results"])) == (200, 50), reply.text
        assert reply.json["total"] > ROWS
        check(ran, collection, 51)
        follow = f"&next={reply.json['nextCursor']}"
