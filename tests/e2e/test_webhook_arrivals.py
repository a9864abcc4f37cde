"""What arrives at a webhook's endpoint, and that a change and its event are one: neither is there without the other."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyotp
import pytest
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.clients.http import Http
from duckmail.model.account import Principal
from duckmail.model.credentials import Trace
from duckmail.model.filters import Filter, FilterAction, FilterQuery
from duckmail.runtime.outward import Outward
from duckmail.services.access import SYSTEM
from duckmail.services.asps import NewAsp
from duckmail.services.dkim.dkim import NewKey
from duckmail.services.mail import Mail
from duckmail.services.webhooks import runner as runner_module
from duckmail.services.webhooks.runner import WebhookRunner
from storage.addressrecords import AddressRecord
from tests.contract.test_contract_certs import given
from tests.support.authenticator import Authenticator
from tests.support.house import House, open_house
from tests.support.profile import profiled
from tests.unit.test_clients_http import CONTEXT, LOOPBACK, Names, Site, site

LETTER = (
    "From: Anna <anna@example.com>\r\nTo: b@example.com\r\nSubject: hello\r\nMessage-ID: <one@example.com>\r\n"
    "Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n\r\nx\r\n"
)


@dataclass
class Told:
    """A house, and the endpoint that is told of all that happens in it."""

    house: House
    site: Site

    async def bodies(self, count: int) -> list[dict[str, Any]]:
        """The next `count` that arrive, in the order of their ids; what is the same of all is left out."""
        async with asyncio.timeout(30):
            while len(self.site.seen) < count:
                await asyncio.sleep(0.01)
        found = sorted((json.loads(body) for _, _, body in self.site.seen), key=lambda body: str(body["id"]))
        self.site.seen.clear()
        for body in found:
            assert isinstance(body.pop("time"), int)
            assert body.pop("id").endswith(":1")
        return found

    async def ok(self, method: str, path: str, body: object = None) -> Any:
        reply = await self.house.call(method, path, body)
        assert reply.status == 200, reply.text
        return reply.json


@pytest.fixture
async def house(mongo_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.1)
    async with open_house(mongo_uri, database_name) as opened:
        yield opened


@asynccontextmanager
async def following(house: House) -> AsyncIterator[Told]:
    services = house.services
    async with site() as server, Http(Outward([LOOPBACK]), Names(), CONTEXT, "duckmail/1") as http:
        runner = WebhookRunner(services.store.webhooks, http, services.target_passwords)
        services.store.webhooks.outbox.woken = runner.wake
        runner.start()
        try:
            told = Told(house, server)
            await told.ok("POST", "/webhooks", {"type": ["*"], "url": server.url()})
            yield told
        finally:
            await runner.drain(1)


async def waiting(house: House) -> list[str]:
    return [job["body"]["ev"] async for job in house.services.store.database["webhookjobs"].find({}).sort("_id", 1)]


async def test_keys_and_certificates(house: House, tmp_path: Path) -> None:
    async with following(house) as told:
        key = {"domain": "example.com", "selector": "one"}
        made = await told.ok("POST", "/dkim", key)
        again = await told.ok("POST", "/dkim", {**key, "selector": "two"})
        await told.ok("DELETE", f"/dkim/{made['id']}")
        about = {"dkim": made["id"], "domain": "example.com"}
        assert await told.bodies(3) == [
            {"ev": "dkim.created", **about, "selector": "one", "fingerprint": made["fingerprint"]},
            {"ev": "dkim.updated", **about, "selector": "two", "fingerprint": again["fingerprint"]},
            {"ev": "dkim.deleted", **about, "selector": "two", "fingerprint": again["fingerprint"]},
        ]
        await told.ok("POST", "/certs", {"servername": "soon.example.com", "acme": True})  # none yet, nothing is told
        made = await told.ok("POST", "/certs", given(tmp_path, "mail.example.com"))
        again = await told.ok("POST", "/certs", given(tmp_path, "mail.example.com"))
        await told.ok("DELETE", f"/certs/{made['id']}")
        about = {"cert": made["id"], "servername": "mail.example.com"}
        assert await told.bodies(3) == [
            {"ev": "cert.created", **about, "fingerprint": made["fingerprint"]},
            {"ev": "cert.updated", **about, "fingerprint": again["fingerprint"]},
            {"ev": "cert.deleted", **about, "fingerprint": again["fingerprint"]},
        ]


async def test_second_factors(house: House) -> None:
    user = await house.make_user()
    at, of = f"/users/{user}/2fa", {"user": user}
    async with following(house) as told:
        seed = (await told.ok("POST", f"{at}/totp/setup", {"issuer": "x"}))["seed"]
        await told.ok("POST", f"{at}/totp/enable", {"token": pyotp.TOTP(seed).now()})
        await told.ok("DELETE", f"{at}/totp")
        await told.ok("PUT", f"{at}/custom", {})
        await told.ok("DELETE", f"{at}/custom")
        key = Authenticator()
        ask = {"origin": "https://webmail.example.com", "description": "blue"}
        asked = await told.ok("POST", f"{at}/webauthn/registration-challenge", ask)
        answer = key.register(asked["registrationOptions"]["challenge"])
        made = (await told.ok("POST", f"{at}/webauthn/registration-attestation", answer))["response"]
        await told.ok("DELETE", at)
        await told.ok("DELETE", at)  # there is none any more
        assert made.pop("success")
        assert await told.bodies(6) == [
            {"ev": "mfa.totp.enabled", **of},
            {"ev": "mfa.totp.disabled", **of},
            {"ev": "mfa.custom.enabled", **of},
            {"ev": "mfa.custom.disabled", **of},
            {"ev": "mfa.webauthn.registered", **of, "credential": made},
            {"ev": "mfa.disabled", **of},
        ]
        assert made["rawId"] == key.raw_id.hex()


async def test_mail_that_goes_to_junk_and_comes_back(house: House) -> None:
    user = await house.make_user()
    async with following(house) as told:
        boxes = {row["name"]: row["id"] for row in (await told.ok("GET", f"/users/{user}/mailboxes"))["results"]}
        inbox, junk, trash = (f"/users/{user}/mailboxes/{boxes[name]}" for name in ("INBOX", "Junk", "Trash"))
        for _ in range(2):
            await told.ok("POST", f"{inbox}/messages", {"raw": LETTER})
        await told.ok("PUT", f"{inbox}/messages/1:2", {"moveTo": boxes["Junk"]})
        about = {
            "user": user, "from": {"name": "Anna", "address": "anna@example.com"},
            "to": [{"name": "", "address": "b@example.com"}], "messageId": "<one@example.com>", "subject": "hello",
            "date": "2026-03-02T10:00:00.000Z",
        }  # fmt: skip
        in_junk, in_inbox = ({**about, "mailbox": boxes[name]} for name in ("Junk", "INBOX"))
        assert await told.bodies(2) == [
            {"ev": "marked.spam", **in_junk, "message": 1},
            {"ev": "marked.spam", **in_junk, "message": 2},
        ]
        imap, _ = await house.imap()
        await imap.ask("b SELECT Junk", "b ")
        assert (await imap.ask("c MOVE 2 INBOX", "c ")).startswith("c OK")
        assert await told.bodies(1) == [{"ev": "marked.ham", **in_inbox, "message": 3}]
        # No matter of spam: within one mailbox, to the trash and back.
        await told.ok("PUT", f"{junk}/messages/1", {"moveTo": boxes["Junk"]})
        await told.ok("PUT", f"{inbox}/messages/3", {"moveTo": boxes["Trash"]})
        await told.ok("PUT", f"{trash}/messages/1", {"moveTo": boxes["INBOX"]})
        await told.ok("POST", f"/users/{user}/mailboxes", {"path": "last"})
        assert [body["ev"] for body in await told.bodies(1)] == ["mailbox.created"]


async def test_filters_that_file_mail_there_go_with_a_mailbox(house: House) -> None:
    user = await house.make_user()
    imap, _ = await house.imap()
    path, of = f"/users/{user}", {"user": user}
    async with following(house) as told:
        for name in ("One", "Two"):
            box = (await told.ok("POST", f"{path}/mailboxes", {"path": name}))["id"]
            rule = {"query": {"subject": "x"}, "action": {"mailbox": box}}
            gone = (await told.ok("POST", f"{path}/filters", rule))["id"]
            kept = (await told.ok("POST", f"{path}/filters", {**rule, "action": {"seen": True}}))["id"]
            if name == "One":
                await told.ok("DELETE", f"{path}/mailboxes/{box}")
            else:
                assert (await imap.ask("d DELETE Two", "d ")).startswith("d OK")
            assert (await told.bodies(5))[3:] == [
                {"ev": "filter.deleted", **of, "filter": gone},
                {"ev": "mailbox.deleted", **of, "mailbox": box, "path": name},
            ]
            assert [row["id"] for row in (await told.ok("GET", f"{path}/filters"))["results"]] == [kept]
            await told.ok("DELETE", f"{path}/filters/{kept}")
            await told.bodies(1)


async def test_whoever_dies_behind_the_commit_has_told_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await house.make_user()
    store = house.services.store
    await house.call("POST", "/webhooks", {"type": ["*"], "url": "http://192.0.2.1/"})
    commit: Callable[[AsyncClientSession], Any] = store.transactions._commit

    async def commits_and_dies(session: AsyncClientSession) -> None:
        await commit(session)
        raise asyncio.CancelledError

    services, mail = house.services, Mail(store, Principal(user, "anna"))
    rule = Filter(id="", user=user, query=FilterQuery(subject="x"), action=FilterAction(seen=True))
    address = AddressRecord(id="", user=user, address="c@example.com", view="")
    changes: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("mailbox.created", lambda: mail.create("New")),
        ("filter.created", lambda: services.filters.create(rule, SYSTEM)),
        ("domainalias.created", lambda: services.domain_aliases.create("b.example", "example.com", SYSTEM)),
        (
            "asp.created",
            lambda: services.asps.create(user, NewAsp(description="phone", scopes=("imap",)), SYSTEM, Trace()),
        ),
        ("dkim.created", lambda: services.dkim.put(NewKey(domain="example.com", selector="one"), SYSTEM)),
        ("address.user.created", lambda: services.addresses.create(address, SYSTEM, main=False, wildcard=False)),
        ("user.password.changed", lambda: services.users.set_password(user, "anothervalue", SYSTEM)),
        ("user.delete.started", lambda: services.users.delete(user, SYSTEM)),
    ]
    for at, (name, change) in enumerate(changes):
        with monkeypatch.context() as patched:
            patched.setattr(store.transactions, "_commit", commits_and_dies)
            with pytest.raises(asyncio.CancelledError):
                await change()
        assert (await waiting(house))[at:] == [name]


async def test_what_is_not_committed_is_not_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await house.make_user()
    await house.call("POST", "/webhooks", {"type": ["*"], "url": "http://192.0.2.1/"})

    mail = Mail(house.services.store, Principal(user, "anna"))

    async def fails(_: AsyncClientSession) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(house.services.store.transactions, "_commit", fails)
        with pytest.raises(asyncio.CancelledError):
            await mail.create("New")
    assert await waiting(house) == []
    await mail.create("New")
    assert await waiting(house) == ["mailbox.created"]


async def test_mail_that_comes_and_moves_asks_for_no_webhook(house: House) -> None:
    """The price of webhooks for mail: not one statement, but for a move from or to Junk."""
    user = await house.make_user()
    listed = (await house.call("GET", f"/users/{user}/mailboxes")).json["results"]
    boxes = {row["name"]: row["id"] for row in listed}
    inbox = f"/users/{user}/mailboxes/{boxes['INBOX']}/messages"
    async with profiled(house.services.store.database) as ran:
        for _ in range(3):
            assert (await house.call("POST", inbox, {"raw": LETTER})).status == 200
        assert (await house.call("PUT", f"{inbox}/1", {"flagged": True})).status == 200
        assert (await house.call("PUT", f"{inbox}/2", {"moveTo": boxes["Trash"]})).status == 200
        assert (await house.call("DELETE", f"{inbox}/3")).status == 200
    assert ran
    assert not [each for each in ran if each.collection.startswith("webhook")]
    async with profiled(house.services.store.database) as ran:
        assert (await house.call("PUT", f"{inbox}/1", {"moveTo": boxes["Junk"]})).status == 200
    asked = [each for each in ran if each.collection == "webhooks"]
    assert [(each.documents, each.scans) for each in asked] == [(0, False)]
