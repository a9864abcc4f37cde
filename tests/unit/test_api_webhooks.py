"""Webhooks by the API, what they are told, and how: with a receiver on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from duckmail.clients.http import Http
from duckmail.errors import Unavailable
from duckmail.model.account import Principal
from duckmail.runtime.outward import Outward
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.services.mail import Mail
from duckmail.services.webhooks import runner as runners
from duckmail.services.webhooks.runner import WebhookRunner
from storage.webhooks import Outbox
from tests.contract.schema import load_deviations, mismatches, parameters, request_schema, response_schema
from tests.contract.test_contract_certs import given
from tests.support.api import Api, open_api
from tests.unit.test_clients_http import CONTEXT, LOOPBACK, Names, site

NOBODY = "0" * 24


@pytest.fixture
async def api(mongo_uri: str, database_name: str) -> AsyncIterator[Api]:
    async with open_api(mongo_uri, database_name) as opened:
        opened.store.events = opened.services.webhooks
        yield opened


@asynccontextmanager
async def posting(api: Api) -> AsyncIterator[None]:
    async with Http(Outward([LOOPBACK]), Names(), CONTEXT, "duckmail/1") as http:
        passwords = TargetPasswords(Sealer([bytes(32)]))
        runner = WebhookRunner(api.store.webhooks, http, passwords, first=timedelta(seconds=0.05))
        api.store.webhooks.outbox.woken = runner.wake
        runner.start()
        try:
            yield
        finally:
            await runner.drain(0)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(40):
        while not holds():
            await asyncio.sleep(0.01)


async def hook(api: Api, url: str, *types: str, user: str = "") -> str:
    body = {"type": list(types), "url": url, **({"user": user} if user else {})}
    reply = await api.call("POST", "/webhooks", body)
    assert reply.status == 200, reply.text
    return str(reply.json["id"])


async def waiting(api: Api) -> list[dict[str, Any]]:
    return await api.store.database["webhookjobs"].find({}).sort("_id", 1).to_list(None)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param({}, 400, "InputValidationError", id="both-are-needed"),
        pytest.param({"type": [], "url": "https://h.example/"}, 400, "InputValidationError", id="no-type"),
        pytest.param({"type": ["x" * 129], "url": "https://h.example/"}, 400, "InputValidationError", id="long"),
        pytest.param({"type": ["*"], "url": "h.example"}, 400, "InputValidationError", id="no-url"),
        pytest.param({"type": ["*"], "url": "smtp://h.example"}, 400, "InputValidationError", id="mail-url"),
        pytest.param({"type": ["*"], "url": "https://h/", "user": NOBODY}, 404, "UserNotFound", id="no-user"),
        pytest.param({"type": ["User.*"], "url": "http://h.example"}, 200, None, id="fine"),
    ],
)
async def test_what_a_webhook_may_be(api: Api, body: object, status: int, code: str | None) -> None:
    reply = await api.call("POST", "/webhooks", body)
    assert (reply.status, reply.json.get("code")) == (status, code)


async def test_answers_follow_the_contract(api: Api) -> None:
    anna = await api.make_user("anna")
    url = "https://u:hidden7@h.example/x"
    made = await api.call("POST", "/webhooks", {"type": ["USER.*", "*"], "url": url})
    own = await hook(api, "https://h.example/y", "*", user=anna)
    answers = {
        "POST /webhooks": made,
        "GET /webhooks": await api.call("GET", "/webhooks"),
        "DELETE /webhooks/{webhook}": await api.call("DELETE", f"/webhooks/{own}"),
    }
    found = set()
    for operation, reply in answers.items():
        found |= {(operation, each) for each in mismatches(reply.json, response_schema(operation))}
    assert {row for row in found if row[1].found != "extra"} == load_deviations(set(answers))
    listed = answers["GET /webhooks"].json
    assert listed["results"] == [
        {"id": made.json["id"], "type": ["user.*", "*"], "user": None, "url": "https://u:********@h.example/x"},
        {"id": own, "type": ["*"], "user": anna, "url": "https://h.example/y"},
    ]
    assert "hidden7" not in repr(await api.store.database["webhooks"].find({}).to_list(None))
    again = await api.call("DELETE", f"/webhooks/{own}")
    assert (again.status, again.json["code"]) == (404, "WebhookNotFound")
    assert set(request_schema("POST /webhooks")["properties"]) == {"type", "user", "url", "sess", "ip"}
    assert parameters("GET /webhooks", "query") >= {"type", "user", "limit", "next", "previous"}


async def test_listings_are_narrowed_and_paged(api: Api) -> None:
    anna = await api.make_user("anna")
    first, second = await hook(api, "https://h/1", "a.b", "c.d"), await hook(api, "https://h/2", "*", user=anna)
    third = await hook(api, "https://h/3", "c.d")

    async def ids(query: str) -> list[str]:
        return [row["id"] for row in (await api.call("GET", f"/webhooks?{query}")).json["results"]]

    assert await ids("type=C.D") == [first, third]
    assert await ids(f"user={anna}") == [second]
    page = (await api.call("GET", "/webhooks?limit=2")).json
    assert (page["total"], [row["id"] for row in page["results"]]) == (3, [first, second])
    assert await ids(f"limit=2&next={page['nextCursor']}") == [third]
    # An account sees its own, and makes and removes none.
    signed = await api.call("POST", "/authenticate", {"username": "anna", "password": "secretvalue", "token": True})
    token = str(signed.json["token"])
    own = await api.call("GET", "/webhooks", token=token)
    assert [row["id"] for row in own.json["results"]] == [second]
    for method, path, body in (
        ("POST", "/webhooks", {"type": ["*"], "url": "https://h/"}),
        ("DELETE", f"/webhooks/{second}", None),
    ):
        assert (await api.call(method, path, body, token=token)).status == 403
    other = await api.make_user("other")
    assert (await api.call("GET", f"/webhooks?user={other}", token=token)).status == 403


async def test_events_go_to_whom_they_concern(api: Api) -> None:
    anna, bert = await api.make_user("anna"), await api.make_user("bert")
    hooks = {
        await hook(api, "https://h/", kind, user=user): (kind, user)
        for kind, user in (
            ("*", ""), ("user.*", ""), ("user.delete.*", ""), ("user.created", ""), ("address.*", ""), ("*", anna),
            ("*", bert), ("us", ""), ("user", ""),
        )
    }  # fmt: skip
    for name, user, expected in (
        ("user.created", anna, {("*", ""), ("user.*", ""), ("user.created", ""), ("*", anna)}),
        ("user.delete.started", bert, {("*", ""), ("user.*", ""), ("*", bert)}),
        ("address.domain.renamed", "", {("*", ""), ("address.*", ""), ("*", anna), ("*", bert)}),
    ):
        await api.services.webhooks.emit(name, user, some="thing", none=None)
        jobs = await waiting(api)
        assert {hooks[str(job["hook"])] for job in jobs} == expected
        identifier = jobs[0]["body"]["id"].partition(":")[0]
        assert [job["body"]["id"] for job in jobs] == [f"{identifier}:{at}" for at in range(1, len(jobs) + 1)]
        body = dict(jobs[0]["body"])
        assert isinstance(body.pop("time"), int)
        body.pop("id")
        assert body == {"ev": name, **({"user": user} if user else {}), "some": "thing"}
        await api.store.database["webhookjobs"].delete_many({})


async def test_what_is_told(api: Api) -> None:
    await hook(api, "https://h/", "*")
    call = api.call
    anna = await api.make_user("anna", address="anna@example.com", targets=["smtps://u:hidden7@relay.example"])
    await call("PUT", f"/users/{anna}", {"password": "anothervalue", "targets": ["x@away.example"]})
    made = (await call("POST", f"/users/{anna}/addresses", {"address": "a2@example.com"})).json["id"]
    await call("DELETE", f"/users/{anna}/addresses/{made}")
    body = {"address": "team@example.com", "targets": ["x@away.example"]}
    team = (await call("POST", "/addresses/forwarded", body)).json["id"]
    await call("DELETE", f"/addresses/forwarded/{team}")
    alias = (await call("POST", "/domainaliases", {"alias": "b.example", "domain": "example.com"})).json["id"]
    await call("DELETE", f"/domainaliases/{alias}")
    await call("PUT", "/addresses/renameDomain", {"oldDomain": "example.com", "newDomain": "new.example"})
    rule = {"query": {"subject": "x"}, "action": {"targets": ["y@away.example"]}}
    filter_ = (await call("POST", f"/users/{anna}/filters", rule)).json["id"]
    await call("DELETE", f"/users/{anna}/filters/{filter_}")
    asp = (await call("POST", f"/users/{anna}/asps", {"description": "phone", "scopes": ["*"]})).json["id"]
    await call("DELETE", f"/users/{anna}/asps/{asp}")
    for status in (True, True, False):
        await call("PUT", f"/users/{anna}/autoreply", {"status": status})
    for method in ("PUT", "DELETE"):
        await call(method, f"/users/{anna}/2fa/custom", {})
    await call("PUT", f"/users/{anna}/2fa/custom", {})
    await call("DELETE", f"/users/{anna}/2fa")
    box = (await call("POST", f"/users/{anna}/mailboxes", {"path": "Box"})).json["id"]
    mail = Mail(api.store, Principal(anna, "anna"))
    await mail.rename("Box", "New")
    await call("DELETE", f"/users/{anna}/mailboxes/{box}")
    await call("DELETE", f"/users/{anna}")
    await call("POST", f"/users/{anna}/restore", {})
    jobs = await waiting(api)
    told = [(job["body"]["ev"], {key: value for key, value in job["body"].items() if key not in ("id", "time", "ev")})
            for job in jobs]  # fmt: skip
    assert "hidden7" not in repr(jobs)
    of = {"user": anna}
    assert told == [
        ("user.created", {**of, "username": "anna", "address": "anna@example.com"}),
        ("forward added", {**of, "type": "user", "target": "smtps://u:********@relay.example"}),
        ("user.password.changed", of),
        ("forward added", {**of, "type": "user", "target": "x@away.example"}),
        ("address.user.created", {**of, "address": made, "value": "a2@example.com"}),
        ("address.user.deleted", {**of, "address": made, "value": "a2@example.com"}),
        ("address.forwarded.created", {"address": team, "value": "team@example.com"}),
        ("address.forwarded.deleted", {"address": team, "value": "team@example.com"}),
        ("domainalias.created", {"domainalias": alias, "alias": "b.example", "domain": "example.com"}),
        ("domainalias.deleted", {"domainalias": alias, "alias": "b.example", "domain": "example.com"}),
        ("address.domain.renamed", {"previous": "example.com", "current": "new.example"}),
        ("filter.created", {**of, "filter": filter_}),
        ("forward added", {**of, "type": "filter", "filter": filter_, "target": "y@away.example"}),
        ("filter.deleted", {**of, "filter": filter_}),
        ("asp.created", {**of, "asp": asp, "description": "phone"}),
        ("asp.deleted", {**of, "asp": asp, "description": "phone"}),
        ("autoreply.user.enabled", of),
        ("autoreply.user.disabled", of),
        ("mfa.custom.enabled", of),
        ("mfa.custom.disabled", of),
        ("mfa.custom.enabled", of),
        ("mfa.disabled", of),
        ("mailbox.created", {**of, "mailbox": box, "path": "Box"}),
        ("mailbox.renamed", {**of, "mailbox": box, "previous": "Box", "current": "New"}),
        ("mailbox.deleted", {**of, "mailbox": box, "path": "New"}),
        ("user.delete.started", of),
        ("user.delete.cancelled", of),
    ]


async def test_what_cannot_be_told_is_not_done(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event is part of its commit: of certificates, and of what ends the renaming of a domain."""
    await hook(api, "https://h/", "*")
    await api.call("POST", "/domainaliases", {"alias": "b.example", "domain": "example.com"})
    made = (await api.call("POST", "/certs", given(tmp_path, "mail.example.com"))).json["id"]
    told = len(await waiting(api))

    async def broken(*_: object) -> bool:
        raise Unavailable

    monkeypatch.setattr(Outbox, "put", broken)
    refused = [
        await api.call("POST", "/certs", given(tmp_path, "other.example.com")),
        await api.call("DELETE", f"/certs/{made}"),
        await api.call("PUT", "/addresses/renameDomain", {"oldDomain": "example.com", "newDomain": "new.example"}),
    ]
    assert [each.status >= 500 for each in refused] == [True] * 3
    assert [each["servername"] for each in (await api.call("GET", "/certs")).json["results"]] == ["mail.example.com"]
    (alias,) = (await api.call("GET", "/domainaliases")).json["results"]
    assert alias["domain"] == "example.com"
    monkeypatch.undo()
    renamed = await api.call("PUT", "/addresses/renameDomain", {"oldDomain": "example.com", "newDomain": "new.example"})
    assert renamed.json["modifiedAliases"] == 1
    assert [job["body"]["ev"] for job in (await waiting(api))[told:]] == ["address.domain.renamed"]


async def test_it_is_posted(api: Api) -> None:
    async with site() as server, posting(api):
        await hook(api, f"http://u:pass@127.0.0.1:{server.port}/x?y=1", "user.*")
        anna = await api.make_user("anna")
        await until(lambda: server.seen)
        ((method, path, body),) = server.seen
        found = json.loads(body)
        assert (method, path, found["ev"], found["user"]) == ("POST", "/x?y=1", "user.created", anna)
        assert server.headers[0]["Content-Type"].startswith("application/json")
        assert server.headers[0]["Authorization"] == "Basic dTpwYXNz"
        async with asyncio.timeout(40):
            while await waiting(api):
                await asyncio.sleep(0.01)


async def test_it_is_tried_again_and_given_up(api: Api) -> None:
    async with site() as server, posting(api):
        server.answer = lambda _: web.Response(status=500)
        await hook(api, server.url(), "*")
        await api.services.webhooks.emit("user.created", NOBODY)
        await until(lambda: len(server.seen) == runners.ATTEMPTS)
        async with asyncio.timeout(40):
            while await waiting(api):
                await asyncio.sleep(0.01)
    assert len({body for _, _, body in server.seen}) == 1  # the same id each time


async def test_one_that_is_gone_is_removed(api: Api) -> None:
    async with site() as server, posting(api):
        server.answer = lambda _: web.Response(status=410)
        gone = await hook(api, server.url(), "*")
        for _ in range(5):
            await api.services.webhooks.emit("user.created", NOBODY)
        async with asyncio.timeout(40):
            while await api.store.webhooks.get(gone) or await waiting(api):
                await asyncio.sleep(0.01)


async def test_a_slow_one_delays_nobody(api: Api) -> None:
    stuck = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stuck.wait()
        writer.close()

    slow = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with slow, site() as server, posting(api):
        await hook(api, f"http://127.0.0.1:{slow.sockets[0].getsockname()[1]}/", "slow.*")
        await hook(api, server.url(), "fast.*")
        for _ in range(runners.CONCURRENCY + 5):
            await api.services.webhooks.emit("slow.one")
        for _ in range(5):
            await api.services.webhooks.emit("fast.one")
        await until(lambda: len(server.seen) == 5)
        stuck.set()


async def test_what_another_process_left_is_posted(api: Api) -> None:
    async with site() as server:
        await hook(api, server.url(), "*")
        await api.services.webhooks.emit("user.created", NOBODY)
        taken = await api.store.webhooks.claim([])
        assert taken is not None
        assert await api.store.webhooks.claim([]) is None
        # The process that took it died: its time comes.
        due = {"$set": {"due": (await waiting(api))[0]["created"]}}
        await api.store.database["webhookjobs"].update_many({}, due)
        async with posting(api):
            await until(lambda: server.seen)
        await api.store.webhooks.put_off(taken, timedelta())  # too late


async def test_the_webhooks_of_an_account_go_with_it(api: Api) -> None:
    anna = await api.make_user("anna")
    own, other = await hook(api, "https://h/", "*", user=anna), await hook(api, "https://h/", "user.delete.completed")
    await api.call("DELETE", f"/users/{anna}")
    past = datetime.now(UTC) - timedelta(days=1)
    await api.store.database["deletedusers"].update_many({}, {"$set": {"due": past}})
    await api.store.database["tasks"].update_many({}, {"$set": {"due": past}})
    await api.runner.once()
    assert await api.store.webhooks.get(own) is None
    assert await api.store.webhooks.get(other) is not None
    (told,) = [job["body"] for job in await waiting(api) if str(job["hook"]) == other]
    assert (told["ev"], told["user"], told["result"]["webhooks"]) == ("user.delete.completed", anna, 1)
