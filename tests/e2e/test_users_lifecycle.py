"""Removed accounts and how they come back; temporary passwords; counting anew. Seen through the protocols."""

from datetime import UTC, datetime, timedelta

import pytest

from duckmail.model.message import NewMessage
from duckmail.services import quotas
from duckmail.services.access import SYSTEM
from duckmail.services.mail import Mail
from storage.mongo.client import object_id
from tests.support.house import PASSWORD, House
from tests.support.stores import message


async def _with_mail(house: House, username: str = "anna") -> str:
    user = await house.make_user(username, tags=("paying",))
    principal = await house.services.auth.login(username, PASSWORD, "imap", "", "imap")
    mail: Mail = house.services.mail(principal)
    for number in range(3):
        await mail.append("INBOX", [NewMessage(await mail.prepare(message(number)), ("\\Seen",))])
    return user


def _in(**time: float) -> str:
    return (datetime.now(UTC) + timedelta(**time)).isoformat()


@pytest.mark.parametrize(
    ("later", "code"),
    [pytest.param(False, "RequestProcessed", id="now"), pytest.param(True, "TaskCancelled", id="later")],
)
async def test_a_removed_account_comes_back_whole(house: House, later: bool, code: str) -> None:
    user = await _with_mail(house)
    uidvalidity = await (await house.imap())[0].ask("s STATUS INBOX (UIDVALIDITY UIDNEXT)")
    when = f"?deleteAfter={_in(days=2).replace('+', '%2B')}" if later else ""
    assert (await house.call("DELETE", f"/users/{user}{when}")).status == 200
    await house.services.store.housekeeping.once()
    assert not (await house.imap())[1].startswith("a OK")
    told = (await house.call("GET", f"/users/{user}/restore")).json
    assert (told["username"], told["recoverableAddresses"], told["tags"]) == ("anna", ["anna@example.com"], ["paying"])
    assert told["storageUsed"] > 0
    restored = await house.call("POST", f"/users/{user}/restore")
    assert restored.json["code"] == code
    assert restored.json["addresses"] == {"recovered": 1, "main": "anna@example.com"}
    lines, answer = await house.imap()
    assert answer.startswith("a OK")
    assert await lines.ask("s STATUS INBOX (UIDVALIDITY UIDNEXT)") == uidvalidity
    assert await lines.ask("s STATUS INBOX (MESSAGES UNSEEN)", "* STATUS") == "* STATUS INBOX (MESSAGES 3 UNSEEN 0)"
    assert (await house.call("GET", f"/users/{user}")).json["address"] == "anna@example.com"
    again = await house.call("POST", f"/users/{user}/restore")
    assert (again.status, again.json["code"]) == (500, "AccountNotFound")
    assert (await house.call("GET", f"/users/{user}/restore")).status == 404


async def test_addresses_that_somebody_has_taken_stay_theirs(house: House) -> None:
    user = await _with_mail(house)
    await house.call("DELETE", f"/users/{user}")
    await house.call("POST", "/users", {"username": "bert", "password": "secretvalue", "address": "an.na@example.com"})
    restored = await house.call("POST", f"/users/{user}/restore")
    assert restored.json["addresses"] == {"recovered": 0, "main": ""}


async def test_a_name_that_somebody_has_taken_cannot_come_back(house: House) -> None:
    user = await _with_mail(house)
    await house.call("DELETE", f"/users/{user}")
    await house.make_user("an.na")
    refused = await house.call("POST", f"/users/{user}/restore")
    assert (refused.status, refused.json["code"]) == (500, "AccountFound")
    assert (await house.call("GET", f"/users/{user}/restore")).status == 200


async def test_a_password_that_was_reset_is_for_one_change(house: House) -> None:
    user = await house.make_user()
    reply = await house.call("POST", f"/users/{user}/password/reset", {"ip": "192.0.2.1"})
    password = reply.json["password"]
    assert (len(password), password.isalnum(), "validAfter" in reply.json) == (12, True, False)
    sign_in = {"username": "anna", "password": password, "token": True}
    signed_in = (await house.call("POST", "/authenticate", sign_in)).json
    assert signed_in["requirePasswordChange"] is True
    assert not (await house.imap(password=password))[1].startswith("a OK")
    assert (await house.imap())[1].startswith("a OK")
    changed = await house.call("PUT", "/users/me", {"password": "a new one"}, token=signed_in["token"])
    assert changed.status == 200
    assert (await house.call("POST", "/authenticate", sign_in)).status == 403
    assert (await house.imap(password="a new one"))[1].startswith("a OK")


async def test_a_password_that_is_valid_later(house: House) -> None:
    user = await house.make_user()
    body = {"validAfter": _in(hours=1)}
    password = (await house.call("POST", f"/users/{user}/password/reset", body)).json["password"]
    for _ in range(13):  # it is right: no failure
        early = await house.call("POST", "/authenticate", {"username": "anna", "password": password})
        assert (early.status, early.json["code"]) == (403, "TempPasswordNotYetValid")
    await house.services.store.users.update(user, {"temp_password_starts": datetime.now(UTC)})
    assert (await house.call("POST", "/authenticate", {"username": "anna", "password": password})).status == 200


async def test_damaged_counters_are_counted_anew(house: House) -> None:
    user = await _with_mail(house)
    right = (await house.services.users.account(user, SYSTEM)).used
    await house.services.store.database["mailboxes"].update_one({"messages": 3}, {"$inc": {"size": 1000}})
    reset = await house.call("POST", f"/users/{user}/quota/reset")
    assert reset.json == {"success": True, "storageUsed": right, "previousStorageUsed": right + 1000}


async def test_all_accounts_are_counted_anew_by_a_task(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "BATCH", 2)
    users = [await _with_mail(house, f"user{number}") for number in range(5)]
    database = house.services.store.database
    right = (await house.services.users.account(users[0], SYSTEM)).used
    await database["mailboxes"].update_many({"messages": 3}, {"$inc": {"size": 1000}})
    await database["mailboxes"].update_one({"messages": 3, "user": object_id(users[4])}, {"$inc": {"size": -1000}})
    task = (await house.call("POST", "/quota/reset", {})).json["task"]
    assert (await house.call("POST", "/quota/reset", {})).json == {"success": True, "task": task}
    assert await house.work() == 1
    assert {(await house.services.users.account(user, SYSTEM)).used for user in users} == {right}
    done = (await house.call("GET", f"/duckmail/tasks/{task}")).json
    assert (done["state"], done["result"]) == ("done", {"accounts": 5, "changed": 4})
    assert (await house.call("POST", "/quota/reset", {})).json["task"] != task
