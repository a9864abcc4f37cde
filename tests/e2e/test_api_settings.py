"""Settings: each key is in force without a restart, in this process at once and in every other within seconds."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from duckmail.errors import DailyLimitReached, OverQuota
from duckmail.model.account import Principal
from duckmail.model.message import NewMessage
from duckmail.model.settings import SETTINGS
from duckmail.services.access import SYSTEM
from duckmail.services.queue.schedule import Schedule
from duckmail.services.recipients import Resolver
from duckmail.services.sendinglimit import SendingLimit
from storage.housekeeping import Housekeeping
from tests.contract.driving import Drive
from tests.support.house import House, open_house
from tests.support.stores import message


async def put(house: House, key: str, value: object) -> None:
    reply = await house.call("POST", f"/settings/const:{key}", {"value": value})
    assert reply.json == {"success": True, "key": f"const:{key}"}


async def test_answers_follow_the_contract(house: House) -> None:
    drive = Drive(house)
    listed = await drive("GET /settings", "/settings")
    assert [row["key"] for row in listed.json["settings"]] == [each.key for each in SETTINGS]
    assert not any(row["custom"] for row in listed.json["settings"])
    await drive("POST /settings/{key}", "/settings/const:max:filters", {"value": "12"})
    found = (await drive("GET /settings", "/settings?filter=max:fil")).json
    assert (found["filter"], [(row["value"], row["default"], row["custom"]) for row in found["settings"]]) == (
        "max:fil",
        [(12, 400, True)],
    )
    assert (await drive("GET /settings/{key}", "/settings/const:max:filters")).json["value"] == 12
    unknown = await drive("GET /settings/{key}", "/settings/const:none")
    assert unknown.json == {"success": False, "key": "const:none", "error": "Key was not found"}
    drive.finish({("GET /settings", "settings[].default"), ("GET /settings", "settings[].description")})


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        pytest.param("const:none", 1, '"key" must be one of [', id="an-unknown-key"),
        pytest.param("const:max:filters", "many", '"value" must be a number', id="no-number"),
        pytest.param("const:max:filters", -1, '"value" must be greater than or equal to 0', id="below-zero"),
        pytest.param("const:max:filters", None, '"value" must be a number', id="null"),
        pytest.param("const:domaincache:enabled", "maybe", '"value" must be a boolean', id="no-boolean"),
        pytest.param("const:sender:defer_times", 5, '"value" must be a string', id="no-string"),
        pytest.param("const:sender:defer_times", "5m, soon", '"value" must be a list of times', id="no-time"),
    ],
)
async def test_what_cannot_be_set(house: House, key: str, value: object, text: str) -> None:
    reply = await house.call("POST", f"/settings/{key}", {"value": value})
    assert (reply.status, reply.json["code"]) == (400, "InputValidationError")
    assert text in reply.json["error"]
    assert not await house.services.store.setting_records.all()


async def test_another_process_follows(house: House, mongo_uri: str, database_name: str) -> None:
    async with open_house(mongo_uri, database_name, slot="second") as other:
        user = await house.make_user()
        await put(house, "max:filters", 7)
        here = await house.call("GET", f"/users/{user}")
        assert here.json["limits"]["filters"]["allowed"] == 7
        async with asyncio.timeout(60):
            while (await other.services.store.users.get(user)).allowed.filters != 7:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ("max:storage", "quota"),
        ("max:recipients", "recipients"),
        ("max:forwards", "forwards"),
        ("max:filters", "filters"),
        ("max:imap:upload", "imapUpload"),
        ("max:imap:download", "imapDownload"),
        ("max:pop3:download", "pop3Download"),
    ],
)
async def test_limits_of_accounts(house: House, key: str, limit: str) -> None:
    plain, own = await house.make_user(), await house.make_user("own", quota=77, recipients=77, forwards=77, filters=77,
        imap_max_upload=77, imap_max_download=77, pop3_max_download=77)  # fmt: skip
    await put(house, key, 5)
    allowed = [(await house.call("GET", f"/users/{user}")).json["limits"][limit]["allowed"] for user in (plain, own)]
    assert allowed == [5, 77]


async def test_room_and_recipients(house: House) -> None:
    user = await house.make_user()
    mail = house.services.mail(Principal(user, "anna"))
    await put(house, "max:storage", 10)
    with pytest.raises(OverQuota):
        await mail.append("INBOX", [NewMessage(await mail.prepare(message(1)))])
    await put(house, "max:recipients", 2)
    account = await house.services.store.users.get(user)
    with pytest.raises(DailyLimitReached):
        await SendingLimit(house.services.store.counters).count(account, 3)


async def test_folders_and_application_passwords(house: House) -> None:
    user = await house.make_user()
    await put(house, "max:mailboxes", 6)
    replies = [await house.call("POST", f"/users/{user}/mailboxes", {"path": path}) for path in ("a", "b")]
    assert [reply.status for reply in replies] == [200, 400]
    await put(house, "asp:limit", 1)
    asps = [await house.call("POST", f"/users/{user}/asps", {"description": "x", "scopes": ["imap"]}) for _ in "12"]
    assert [(reply.status, reply.json.get("allowed")) for reply in asps] == [(200, None), (403, 1)]


async def test_filters(house: House) -> None:
    user = await house.make_user()
    await put(house, "max:filters", 1)
    body = {"query": {"from": "x"}, "action": {"seen": True}}
    replies = [await house.call("POST", f"/users/{user}/filters", body) for _ in "12"]
    assert [(reply.status, reply.json.get("allowed")) for reply in replies] == [(200, None), (403, 1)]


async def test_recipients_of_a_message(house: House) -> None:
    user = await house.make_user()
    await put(house, "max:rcpt_to", 1)
    lines, _ = await house.submission()
    await lines.ask("MAIL FROM:<anna@example.com>")
    said = [await lines.ask(f"RCPT TO:<{name}@example.com>") for name in ("anna", "anna2")]
    assert [line[:3] for line in said] == ["250", "452"]
    to = [{"address": f"{name}@example.net"} for name in ("a", "b")]
    reply = await house.call("POST", f"/users/{user}/submit", {"to": to, "text": "x"})
    assert reply.json["code"] == "TooMany"


async def test_what_is_kept(house: House) -> None:
    user = await house.make_user()
    path, store = f"/users/{user}", house.services.store
    await put(house, "authlog:time", 60_000)
    await house.services.authlog.record(user, "authentication", "success")
    (event,) = (await house.services.authlog.list(user, SYSTEM, 10, action="authentication")).events
    assert event.expires - event.created == timedelta(minutes=1)
    await put(house, "authlog:time", 0)
    assert await house.services.authlog.record(user, "reset") == ""
    boxes = (await house.call("GET", f"{path}/mailboxes")).json["results"]
    inbox = boxes[0]["id"]
    mail = house.services.mail(Principal(user, "anna"))
    await mail.append("INBOX", [NewMessage(await mail.prepare(message(number))) for number in range(5)])
    await put(house, "max:bulk_batch_size", 2)
    before = (await store.mailboxes.get(user, inbox)).modseq
    assert (await house.call("DELETE", f"{path}/mailboxes/{inbox}/messages")).json["deleted"] == 5
    assert (await store.mailboxes.get(user, inbox)).modseq - before == 3
    housekeeping = Housekeeping(store.database, store.committer, store.settings)
    await housekeeping.drop_archived()
    assert await store.database["archived"].count_documents({}) == 5
    await put(house, "archive:time", 0)
    await housekeeping.drop_archived()
    assert await store.database["archived"].count_documents({}) == 0


async def test_the_retry_schedule(house: House) -> None:
    schedule = Schedule((60.0,), house.services.store.settings)
    now = datetime.now(UTC)
    assert schedule.next(1, timedelta(0), now, 1.0) == now + timedelta(minutes=1)
    await put(house, "sender:defer_times", "5m, 2h,1 d")
    assert schedule.waits == (300.0, 7200.0, 86_400.0)
    assert schedule.next(2, timedelta(0), now, 1.0) == now + timedelta(hours=2)
    await put(house, "sender:defer_times", "")
    assert schedule.waits == (60.0,)


async def test_the_domain_cache(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await house.make_user()
    store = house.services.store
    await put(house, "domaincache:enabled", True)
    monkeypatch.setattr("duckmail.services.recipients.ALIAS_SECONDS", 0.0)
    resolver = Resolver(store.addresses, store.settings)
    assert not await resolver.is_local("late.example")
    await house.call("POST", f"/users/{user}/addresses", {"address": "x@late.example"})
    assert not await resolver.is_local("late.example")
    await put(house, "domaincache:enabled", False)
    assert await Resolver(store.addresses, store.settings).is_local("late.example")
