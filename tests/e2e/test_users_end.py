"""The end of a removed account: nothing of it is left, whoever is killed on the way, and nothing of others goes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.binary import Binary
from bson.objectid import ObjectId

from duckmail.model.message import FlagChange, FlagOperation, NewMessage
from duckmail.model.queue import Origin, OutboundEnvelope, QueueRecipient
from duckmail.model.ranges import Ranges
from duckmail.model.trace import Step
from duckmail.services.queue.queue import NewMail
from storage.catalog import INDEXES
from storage.fsck import check
from storage.mongo.client import object_id
from storage.removals import LEFT, OWNED
from storage.urlkeys import UrlKeys
from tests.support.house import House
from tests.support.stores import Ears, message

# Brought to its end by the removal itself, or by other means than a deletion by account.
AT_ONCE = {"users", "deletedusers", "addresses", "mailboxes", "messages"}


async def one_of_everything(house: House, username: str) -> str:
    user = await house.make_user(username, tags=("paying",), retention=10**12)
    path = f"/users/{user}"

    async def made(method: str, below: str, body: object) -> Any:
        reply = await house.call(method, path + below, body)
        assert reply.status == 200, reply.text
        return reply.json

    await made("POST", "/addresses", {"address": f"{username}2@example.com"})
    await made("POST", "/asps", {"description": "phone", "scopes": ["imap"]})
    await made("POST", "/filters", {"name": "f", "query": {"from": "x"}, "action": {"seen": True}})
    await made("PUT", "/autoreply", {"status": True, "text": "away"})
    hook = {"type": ["user.*"], "url": "https://hook.example/", "user": user}
    assert (await house.call("POST", "/webhooks", hook)).status == 200
    await made("POST", "/mailboxes", {"path": "Work"})
    gone = (await made("POST", "/mailboxes", {"path": "Gone"}))["id"]
    sign_in = {"username": username, "password": "secretvalue", "token": True}
    assert (await house.call("POST", "/authenticate", sign_in)).json["token"]
    services = house.services
    principal = await services.auth.login(username, "secretvalue", "imap", "", "imap")
    mail = services.mail(principal)
    for number in range(4):
        await mail.append("INBOX", [NewMessage(await mail.prepare(message(number)), delivery_key=ObjectId().binary)])
    await mail.append("Gone", [NewMessage(await mail.prepare(message(7)))])
    await made("DELETE", f"/mailboxes/{gone}", {})
    inbox = await mail.mailbox("INBOX")
    await mail.annotations.change(inbox, {"/private/comment": b"mine"})
    await UrlKeys(services.store.database).ensure(user, inbox.id, b"sealed")
    await services.store.positions.save(user, {})
    view = await mail.open("INBOX", ears := Ears())
    await mail.store_flags(view, Ranges.of(1), FlagChange(FlagOperation.ADD, ("\\Deleted",)))
    await mail.expunge(view)
    await mail.copy(view, Ranges.of(2), "Work")
    mail.close_view(view, ears)
    await services.store.address_register.note({(user, "friend@example.net"): ("friend@example.net", "Friend")})
    content = await services.store.contents.prepare(message(9))
    recipients = [QueueRecipient("far@away.example")]
    await services.queue.submit(NewMail(user, Origin.API, OutboundEnvelope("a@b.example"), recipients, content))
    services.tracing.note(Step.QUEUED, "story@example.com", user, {"sender": "a@b.example"})
    await services.tracing.flush()
    # As an older version wrote it.
    await services.store.database["traces"].insert_one({"user": object_id(user)})
    # Not by the API: with a second factor mail programs could not sign in any more.
    await services.store.database["webauthnkeys"].insert_one({"user": object_id(user), "rawId": Binary(b"raw")})
    return user


async def naming(house: House, user: str) -> set[str]:
    """The collections in which anything names the account."""
    database = house.services.store.database
    wanted, text = object_id(user), user

    def names(value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(names, value.values()))
        if isinstance(value, list):
            return any(map(names, value))
        return bool(value == wanted) or value == text or (isinstance(value, Binary) and wanted.binary in value)

    found = set()
    for name in await database.list_collection_names():
        if [1 async for document in database[name].find({}) if names(document)]:
            found.add(name)
    return found


def test_every_collection_of_accounts_is_known() -> None:
    """A new one has to say what becomes of it."""
    of_accounts = {name for name, keys, _ in INDEXES if keys[0][0] == "user"}
    assert of_accounts <= set(OWNED) | set(LEFT) | AT_ONCE


async def test_nothing_is_left(house: House) -> None:
    user, other = await one_of_everything(house, "anna"), await one_of_everything(house, "bert")
    work = (await house.call("GET", f"/users/{other}/mailboxes/resolve?path=Work")).json["id"]
    acl = f"/duckmail/users/{other}/mailboxes/{work}/acl"
    for identifier in ("anna", "-anna", "anyone"):
        assert (await house.call("PUT", acl, {"identifier": identifier, "rights": "lr"})).status == 200
    before = await naming(house, user)
    assert before >= set(OWNED) - {"expunged"} | {"users", "addresses", "messages", "mailboxes", "tracepages"}
    others = await naming(house, other)
    reply = await house.call("DELETE", f"/users/{user}")
    task = reply.json["task"]
    assert await house.work() == 0, "it can still be had back"
    listed = (await house.call("GET", f"/duckmail/tasks/{task}")).json
    assert (listed["kind"], listed["user"], listed["state"]) == ("user-delete", user, "waiting")
    await house.services.store.task_records.hurry(task)
    assert await house.work() == 1
    assert await naming(house, user) <= set(LEFT) - {"undos"}
    left = (await house.call("GET", acl)).json["results"]
    assert [each["identifier"] for each in left] == ["bert", "anyone"]
    done = (await house.call("GET", f"/duckmail/tasks/{task}")).json
    assert done["state"] == "done"
    assert (done["result"]["messages"], done["result"]["archived"], done["result"]["filters"]) == (4, 2, 1)
    assert await naming(house, other) == others
    assert await check(house.services.store) == []
    for method in ("GET", "POST"):
        assert (await house.call(method, f"/users/{user}/restore")).json["code"] == "AccountNotFound"


async def test_a_given_day_is_kept(house: House) -> None:
    user = await house.make_user()
    when = (datetime.now(UTC) + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    await house.call("DELETE", f"/users/{user}?deleteAfter={when}")
    assert await house.work() == 0
    async with asyncio.timeout(10):
        while not await house.work():
            await asyncio.sleep(0.1)
    assert "mailboxes" not in await naming(house, user)


async def test_what_has_begun_cannot_be_stopped_and_goes_on(house: House) -> None:
    """The first process dies right behind its beginning."""
    user = await one_of_everything(house, "anna")
    task = (await house.call("DELETE", f"/users/{user}")).json["task"]
    removals = house.services.store.users.removals
    await removals._begin(object_id(task))
    refused = await house.call("POST", f"/users/{user}/restore")
    assert (refused.status, refused.json["code"]) == (500, "DeleteInProgress")
    assert (await house.call("GET", f"/users/{user}/restore")).status == 404
    await house.services.store.housekeeping.once()
    assert await check(house.services.store) == []
    await house.services.store.task_records.hurry(task)
    assert await house.work() == 1
    assert await naming(house, user) <= set(LEFT)


async def test_who_comes_back_has_no_end_any_more(house: House) -> None:
    user = await one_of_everything(house, "anna")
    task = (await house.call("DELETE", f"/users/{user}")).json["task"]
    assert (await house.call("POST", f"/users/{user}/restore")).status == 200
    assert (await house.call("GET", f"/duckmail/tasks/{task}")).status == 404
    assert await house.services.store.users.removals.end(task, house.services.store.committer) == {}
    assert (await house.imap("anna"))[1].startswith("a OK")
    assert await check(house.services.store) == []
