"""Audits: what was there, and what comes by every way, is copied; by who may, for as long as it lasts."""

import mailbox
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from duckmail.app.listeners import LMTP
from duckmail.model.message import FlagChange, FlagOperation, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services import audits as service
from duckmail.services.access import SYSTEM
from duckmail.services.mail import Mail
from storage import audits as records
from storage.fsck import check
from storage.mongo.client import object_id
from storage.sweep import DAY, Sweep
from tests.support.house import PASSWORD, House
from tests.support.letterbox import read_mbox
from tests.support.stores import Ears, message


@pytest.fixture
async def auditor(house: House) -> str:
    return await house.services.tokens.issue("audit")


def _in(**time: float) -> str:
    return (datetime.now(UTC) + timedelta(**time)).isoformat()


async def mail_of(house: House, username: str = "anna") -> Mail:
    return house.services.mail(await house.services.auth.login(username, PASSWORD, "imap", "", "imap"))


async def append(mail: Mail, path: str, *numbers: int, flags: tuple[str, ...] = (), idate: str = "") -> None:
    for number in numbers:
        when = datetime.fromisoformat(idate) if idate else None
        await mail.append(path, [NewMessage(await mail.prepare(message(number)), flags, idate=when)])


async def begin(house: House, token: str, user: str, **window: str) -> str:
    body = {"user": user, "expires": _in(days=1), **window}
    reply = await house.call("POST", "/audit", body, token)
    assert reply.status == 200, reply.text
    made = reply.json["id"]
    assert isinstance(made, str)
    return made


async def exported(house: House, token: str, audit: str, folder: Path) -> list[mailbox.mboxMessage]:
    reply = await house.call("GET", f"/audit/{audit}/export.mbox", token=token)
    assert reply.status == 200
    file = folder / "export.mbox"
    file.write_bytes(reply.text.encode())
    return read_mbox(file)


async def subjects(house: House, token: str, audit: str, folder: Path) -> list[str]:
    return [str(each["subject"]) for each in await exported(house, token, audit, folder)]


async def test_what_was_there_is_copied(
    house: House, auditor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "BATCH", 2)
    monkeypatch.setattr(service, "PAGE", 2)
    user = await house.make_user()
    mail = await mail_of(house)
    await append(mail, "INBOX", 1, 2, 3, idate="2026-10-02T10:00:00+00:00")
    await append(mail, "Drafts", 4, flags=("\\Draft",), idate="2026-10-01T10:00:00+00:00")
    await append(mail, "INBOX", 5, idate="2026-10-03T10:00:00+00:00")
    view = await mail.open("INBOX", Ears())
    await mail.copy(view, Ranges.of(1), "Trash")
    audit = await begin(house, auditor, user)
    path = f"/audit/{audit}"
    before = (await house.call("GET", path, token=auditor)).json
    assert before["import"] == {"status": "queued", "failed": 0, "copied": 0}
    assert (before["user"], before["start"], before["end"]) == (user, False, False)
    assert await house.work() == 1
    assert (await house.call("GET", path, token=auditor)).json["import"] == {
        "status": "imported",
        "failed": 0,
        "copied": 5,
    }
    found = await exported(house, auditor, audit, tmp_path)
    assert [each["subject"] for each in found] == [f"number {number}" for number in (4, 1, 2, 3, 5)]
    assert [each["x-export-mailbox"] for each in found] == ["Drafts", *["INBOX"] * 4]
    assert [each["x-export-draft"] for each in found] == ["Yes", None, None, None, None]
    reply = await house.call("GET", f"{path}/export.mbox", token=auditor)
    assert reply.headers["Content-Disposition"] == "attachment; filename=export.mbox"
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert message(5).replace(b"\r\n", b"\n").decode() in reply.text


async def test_what_comes_is_copied_whatever_becomes_of_it(house: House, auditor: str, tmp_path: Path) -> None:
    user = await house.make_user(upload_sent_messages=False)
    await house.make_user("bert")
    audit = await begin(house, auditor, user)
    assert await house.work() == 1
    mail = await mail_of(house)
    # By IMAP, into a mailbox that was made meanwhile.
    lines, _ = await house.imap()
    await lines.ask("c CREATE New", "c ")
    raw = message(1)
    assert (await lines.ask(f"a APPEND New {{{len(raw)}}}")).startswith("+")
    assert "APPENDUID" in await lines.ask(raw.decode(), "a ")
    # By LMTP.
    lmtp = await house.connect(LMTP)
    await lmtp.ask("LHLO x", "250 ")
    await lmtp.ask("MAIL FROM:<a@b.example>")
    await lmtp.ask("RCPT TO:<anna@example.com>")
    assert (await lmtp.ask("DATA")).startswith("354")
    assert (await lmtp.ask(message(2).decode() + ".")).startswith("250")
    # By submission, without a copy in Sent.
    smtp, _ = await house.submission()
    await smtp.ask("MAIL FROM:<anna@example.com>")
    await smtp.ask("RCPT TO:<x@away.example>")
    assert (await smtp.ask("DATA")).startswith("354")
    assert (await smtp.ask("From: anna@example.com\r\nSubject: number 3\r\n\r\nsent\r\n.")).startswith("250")
    await append(await mail_of(house, "bert"), "INBOX", 9)
    # All of it is removed at once.
    for path in ("INBOX", "New"):
        view = await mail.open(path, ears := Ears())
        await mail.store_flags(view, Ranges(((1, 9),)), FlagChange(FlagOperation.ADD, ("\\Deleted",)))
        await mail.expunge(view)
        mail.close_view(view, ears)
    store = house.services.store
    for name in ("archived", "queue"):
        await store.database[name].delete_many({})
    for days in range(1, 4):
        await Sweep(store.database).run(datetime.now(UTC) + days * DAY)
    assert await subjects(house, auditor, audit, tmp_path) == ["number 1", "number 2", "number 3"]
    assert await check(store) == []


async def test_only_of_its_time(house: House, auditor: str, tmp_path: Path) -> None:
    user = await house.make_user()
    mail = await mail_of(house)
    for number, day in ((1, 1), (2, 2), (3, 3)):
        await append(mail, "INBOX", number, idate=f"2026-10-0{day}T10:00:00+00:00")
    # What is stored now is of now, whatever date it bears.
    past = {"start": "2026-10-02T00:00:00Z", "end": "2026-10-02T23:00:00Z"}
    old, coming = await begin(house, auditor, user, **past), await begin(house, auditor, user, start=_in(hours=1))
    now = await begin(house, auditor, user, start=_in(seconds=-1))
    store = house.services.store
    await store.database["messages"].update_many({}, {"$set": {"savedate": datetime(2026, 10, 5, tzinfo=UTC)}})
    assert await house.work() == 3
    await append(mail, "INBOX", 4, idate="1999-01-01T00:00:00+00:00")
    assert await subjects(house, auditor, old, tmp_path) == ["number 2"]
    assert await subjects(house, auditor, coming, tmp_path) == []
    assert await subjects(house, auditor, now, tmp_path) == ["number 4"]


async def test_what_is_removed_or_moved_before_it_was_copied(house: House, auditor: str, tmp_path: Path) -> None:
    user = await house.make_user()
    mail = await mail_of(house)
    await append(mail, "INBOX", 1, 2)
    audit = await begin(house, auditor, user)
    view = await mail.open("INBOX", Ears())
    await mail.store_flags(view, Ranges.of(1), FlagChange(FlagOperation.ADD, ("\\Deleted",)))
    await mail.expunge(view)
    await mail.move(view, Ranges.of(2), "Trash")
    await house.work()
    assert sorted(await subjects(house, auditor, audit, tmp_path)) == ["number 1", "number 2"]


@pytest.mark.parametrize("how", ["expired", "deleted"])
async def test_it_ends(house: House, auditor: str, how: str) -> None:
    user = await house.make_user()
    mail = await mail_of(house)
    await append(mail, "INBOX", 1, 2)
    audit, other = await begin(house, auditor, user), await begin(house, auditor, user)
    await house.work()
    if how == "deleted":
        deleted = await house.call("DELETE", f"/duckmail/audit/{audit}", token=auditor)
        assert deleted.json == {"success": True}
    else:
        await house.services.store.task_records.hurry(audit)
    assert await house.work() == 1
    database = house.services.store.database
    assert await database["auditmails"].distinct("audit") == [object_id(other)]
    await append(mail, "INBOX", 3)
    assert await database["auditmails"].count_documents({}) == 3
    gone = await house.call("GET", f"/audit/{audit}", token=auditor)
    assert (gone.status, gone.json["code"]) == (404, "AuditNotFoundError")
    assert (await house.call("GET", f"/audit/{other}", token=auditor)).json["import"]["copied"] == 3


async def test_it_outlives_the_account(house: House, auditor: str, tmp_path: Path) -> None:
    user = await house.make_user()
    await append(await mail_of(house), "INBOX", 1)
    audit = await begin(house, auditor, user)
    await house.work()
    task = (await house.call("DELETE", f"/users/{user}")).json["task"]
    await house.services.store.task_records.hurry(task)
    await house.work()
    assert await subjects(house, auditor, audit, tmp_path) == ["number 1"]
    assert await check(house.services.store) == []


async def test_who_may(house: House, auditor: str) -> None:
    user = await house.make_user()
    audit = await begin(house, auditor, user)
    body = {"user": user, "expires": _in(days=1)}
    calls = [
        ("POST", "/audit", body),
        ("DELETE", f"/duckmail/audit/{audit}", {}),
        ("GET", f"/audit/{audit}", None),
        ("GET", f"/audit/{audit}/export.mbox", None),
    ]
    client = await house.services.tokens.issue("auditclient")
    own = await house.services.tokens.issue("user", await house.services.users.get(user, SYSTEM))
    for token, allowed in ((client, 2), (own, 0), (await house.services.tokens.issue("root"), 0)):
        got = [(await house.call(method, path, json, token)).status for method, path, json in calls]
        assert got == [403] * (4 - allowed) + [200] * allowed
    for method, path, _ in calls[1:]:
        missing = await house.call(method, path.replace(audit, "0123456789abcdef01234567"), token=auditor)
        assert (missing.status, missing.json["code"]) == (404, "AuditNotFoundError")
    for wrong in ({"user": user}, {"user": "x", "expires": _in(days=1)}, {"user": user, "expires": _in(days=-1)}):
        refused = await house.call("POST", "/audit", wrong, auditor)
        assert (refused.status, refused.json["code"]) == (400, "InputValidationError")
