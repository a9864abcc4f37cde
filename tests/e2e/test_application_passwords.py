"""Application passwords in every protocol: scopes, time, last use, the end of what they opened; the authlog of it."""

import asyncio
import plistlib
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs7

from duckmail.app.listeners import POP3
from tests.support.house import PASSWORD, House

_LOGINS = {"imap": "a OK", "pop3": "+OK", "submission": "235"}


async def _make(house: House, user: str, **fields: object) -> dict[str, Any]:
    reply = await house.call("POST", f"/users/{user}/asps", {"description": "phone", **fields})
    assert reply.status == 200, reply.text
    return reply.json


async def _until(found: Callable[[], Awaitable[object]]) -> Any:
    for _ in range(600):
        if value := await found():
            return value
        await asyncio.sleep(0.05)
    return None


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        pytest.param(["imap"], {"imap"}, id="imap"),
        pytest.param("pop3, smtp", {"pop3", "submission"}, id="comma-list"),
        pytest.param(["*"], {"imap", "pop3", "submission"}, id="all"),
        pytest.param([], set(), id="none-is-good-for-nothing"),
    ],
)
async def test_scopes_hold_in_every_protocol(house: House, scopes: object, allowed: set[str]) -> None:
    user = await house.make_user()
    password = (await _make(house, user, scopes=scopes))["password"]
    spaced = " ".join(password[i : i + 4] for i in range(0, 16, 4)).upper()
    for name, beginning in _LOGINS.items():
        for typed in (password, spaced):
            lines, answer = await getattr(house, name)(password=typed)
            assert answer.startswith(beginning) is (name in allowed), (name, answer)
            await lines.ask("q LOGOUT" if name == "imap" else "QUIT")
    master = await house.call("POST", "/authenticate", {"username": "anna", "password": password, "token": True})
    assert (master.status, master.json["code"]) == (403, "InvalidAuthScope")


async def test_it_is_for_its_own_account(house: House) -> None:
    user = await house.make_user()
    await house.make_user("bert")
    password = (await _make(house, user, scopes=["imap"]))["password"]
    assert not (await house.imap("bert", password))[1].startswith("a OK")
    assert (await house.imap("anna", PASSWORD))[1].startswith("a OK")


async def test_a_disabled_scope_beats_it(house: House) -> None:
    user = await house.make_user(disabled_scopes=("imap",))
    password = (await _make(house, user, scopes=["*"]))["password"]
    assert not (await house.imap(password=password))[1].startswith("a OK")
    assert (await house.pop3(password=password))[1].startswith("+OK")


async def test_removing_it_ends_its_sessions_alone(house: House) -> None:
    user = await house.make_user()
    made = await _make(house, user, scopes=["imap"])
    with_it, _ = await house.imap(password=made["password"])
    with_password, _ = await house.imap()
    assert (await house.call("DELETE", f"/users/{user}/asps/{made['id']}")).json == {"success": True}
    assert (await with_it.line()).startswith("* BYE ")
    await asyncio.sleep(1.6)
    assert (await with_password.ask("b NOOP")).startswith("b OK")
    assert not (await house.imap(password=made["password"]))[1].startswith("a OK")
    gone = await house.call("DELETE", f"/users/{user}/asps/{made['id']}")
    assert (gone.status, gone.json["code"]) == (404, "AspNotFound")


async def test_its_time_ends_it(house: House) -> None:
    user = await house.make_user()
    made = await _make(house, user, scopes=["imap"], ttl=2)
    lines, answer = await house.imap(password=made["password"])
    assert answer.startswith("a OK")
    assert (await house.call("GET", f"/users/{user}/asps")).json["results"] == []
    [listed] = (await house.call("GET", f"/users/{user}/asps?showAll=yes")).json["results"]
    assert listed["expires"] > listed["created"]
    assert (await lines.line()).startswith("* BYE ")
    assert not (await house.imap(password=made["password"]))[1].startswith("a OK")


async def test_its_last_use_names_the_entry_of_the_authlog(house: House) -> None:
    user = await house.make_user()
    made = await _make(house, user, scopes=["imap"])
    path = f"/users/{user}/asps/{made['id']}"
    assert (await house.call("GET", path)).json["lastUse"] == {}
    await house.imap(password=made["password"])

    async def used() -> object:
        return (await house.call("GET", path)).json["lastUse"]

    last = await _until(used)
    entry = (await house.call("GET", f"/users/{user}/authlog/{last['event']}")).json
    assert entry["action"] == "authentication"
    assert (entry["result"], entry["source"], entry["asp"], entry["aname"]) == ("success", "asp", made["id"], "phone")
    assert (entry["protocol"], entry["ip"], entry["requiredScope"]) == ("IMAP", "127.0.0.1", "imap")
    assert made["password"] not in str(entry)


async def test_a_profile_is_signed_and_holds_the_account(house: House) -> None:
    user = await house.make_user(name="Anna Bee")
    made = await _make(house, user, scopes=["imap", "smtp"], password="abcdefghijklmnop", generateMobileconfig=True)
    assert (made["password"], made["name"], made["address"]) == ("abcdefghijklmnop", "Anna Bee", "anna@example.com")
    signed = b64decode(made["mobileconfig"])
    assert pkcs7.load_der_pkcs7_certificates(signed)
    start = signed.index(b"<?xml")
    profile = plistlib.loads(signed[start : signed.index(b"</plist>") + 8])
    [account] = profile["PayloadContent"]
    assert account["IncomingMailServerHostName"] == "mail.example.com"
    assert (account["EmailAccountType"], account["IncomingPassword"]) == ("EmailTypeIMAP", "abcdefghijklmnop")
    for scopes in (["imap"], ["smtp"], []):
        body = {"description": "x", "scopes": scopes, "generateMobileconfig": True}
        refused = await house.call("POST", f"/users/{user}/asps", body)
        assert (refused.status, refused.json["code"]) == (400, "InvalidAuthScope")


async def test_the_address_of_a_profile_is_ones_own(house: House) -> None:
    user = await house.make_user()
    await house.make_user("bert")
    body = {"description": "x", "scopes": ["*"], "generateMobileconfig": True, "address": "bert@example.com"}
    refused = await house.call("POST", f"/users/{user}/asps", body)
    assert (refused.status, refused.json["code"]) == (404, "AddressNotFound")
    made = await house.call("POST", f"/users/{user}/asps", {**body, "address": "an.na+x@Example.com"})
    assert made.json["address"] == "anna@example.com"


async def test_there_are_so_many(house: House) -> None:
    user = await house.make_user()
    assert (await house.call("POST", "/settings/const:asp:limit", {"value": 2})).status == 200
    for _ in range(2):
        await _make(house, user)
    more = await house.call("POST", f"/users/{user}/asps", {"description": "x"})
    assert (more.status, more.json["code"], more.json["allowed"]) == (403, "TooMany", 2)


async def test_wrong_ones_count_as_failures_of_the_account(house: House) -> None:
    user = await house.make_user()
    password = (await _make(house, user, scopes=["pop3"]))["password"]
    wrong = "z" * 16 if password != "z" * 16 else "y" * 16
    for _ in range(12):
        lines = await house.connect(POP3)
        await lines.ask("USER anna")
        assert (await lines.ask(f"PASS {wrong}")).startswith("-ERR [AUTH]")
        await lines.close()
    assert "[SYS/TEMP]" in (await house.pop3(password=password))[1]


async def test_the_authlog_counts_and_narrows(house: House) -> None:
    user = await house.make_user()
    sign_in = {"username": "anna", "password": "wrong", "ip": "192.0.2.7", "sess": "abc", "protocol": "Webmail"}
    for _ in range(3):
        await house.call("POST", "/authenticate", sign_in)
    await house.call("POST", "/authenticate", {**sign_in, "password": PASSWORD, "appId": "app:one", "ip": "192.0.2.8"})
    await house.call("PUT", f"/users/{user}", {"password": "anotherone"})
    await house.call("PUT", f"/users/{user}", {"disabled": True})
    await house.call("POST", "/authenticate", sign_in)
    path = f"/users/{user}/authlog"

    async def whole() -> object:
        found = (await house.call("GET", path)).json
        return found if found["total"] == 5 else None

    found = (await _until(whole))["results"]
    told = {(entry["action"], entry["result"]): entry for entry in found}
    assert set(told) == {
        ("account created", "success"),
        ("authentication", "fail"),
        ("authentication", "success"),
        ("authentication", "disabled"),
        ("password change", "success"),
    }

    async def counted() -> object:
        entries = (await house.call("GET", f"{path}?action=authentication&filterip=192.0.2.7")).json["results"]
        return sorted(entry["events"] for entry in entries) == [1, 3]

    assert await _until(counted)
    assert told["authentication", "success"]["appId"] == "app:one"
    assert told["authentication", "success"]["protocol"] == "Webmail"
    ids = [entry["id"] for entry in found]
    assert ids == sorted(ids, reverse=True)
    first = (await house.call("GET", f"{path}?limit=2&page=1")).json
    assert [entry["id"] for entry in first["results"]] == ids[:2]
    second = (await house.call("GET", f"{path}?limit=2&next={first['nextCursor']}")).json
    assert [entry["id"] for entry in second["results"]] == ids[2:4]
    back = (await house.call("GET", f"{path}?limit=2&previous={second['previousCursor']}")).json
    assert [entry["id"] for entry in back["results"]] == ids[:2]
    other = await house.make_user("bert")
    stranger = await house.call("GET", f"/users/{other}/authlog/{ids[0]}")
    assert (stranger.status, stranger.json["code"]) == (404, "EventNotFound")
