"""Searching over HTTP, and what is done to what is found; the archive."""

from collections.abc import AsyncIterator

import pytest

from storage.mongo.client import Document, object_id
from tests.support.api import Api, open_api
from tests.support.posted import NOBODY, PICTURE, Posted, open_posted
from tests.support.sessions import imap_session
from tests.support.stores import message


@pytest.fixture
async def posted(mongo_uri: str, database_name: str) -> AsyncIterator[Posted]:
    async with open_api(mongo_uri, database_name) as api:
        yield await open_posted(api)


def _mail(subject: str, body: str, sender: str = "x@x.example", to: str = "anna@example.com", cc: str = "") -> bytes:
    carbon = f"Cc: {cc}\r\n" if cc else ""
    return f"From: {sender}\r\nTo: {to}\r\n{carbon}Subject: {subject}\r\n\r\n{body}\r\n".encode()


@pytest.fixture
async def several(posted: Posted) -> Posted:
    await posted.post(_mail("apples", "red and (green)", sender="Eve <eve@apple.example>"), ("\\Seen",))
    await posted.post(_mail("pears", "only green .*", to="Bob <bob@pear.example>"), ("\\Flagged",))
    await posted.post(_mail("plums", "blue skies", cc="bob@pear.example"))
    await posted.post(PICTURE, ("\\Seen",), "Sent Mail")
    await posted.post(_mail("apples again", "red", sender="eve@apple.example"), path="Junk")
    return posted


async def _subjects(posted: Posted, **parameters: str) -> list[str]:
    reply = await posted.api.call("GET", f"/users/{posted.user}/search", params=parameters)
    assert reply.status == 200, reply.text
    assert reply.json["total"] == len(reply.json["results"])
    return [row["subject"] for row in reply.json["results"]]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param({}, "apples again, a picture, plums, pears, apples", id="all"),
        pytest.param({"searchable": "1"}, "a picture, plums, pears, apples", id="searchable"),
        pytest.param({"order": "asc"}, "apples, pears, plums, a picture, apples again", id="by-date"),
        pytest.param({"query": "red blue"}, "plums, apples", id="any-word-and-no-junk"),
        pytest.param({"query": '"only green"'}, "pears", id="phrase"),
        pytest.param({"query": "green -only"}, "apples", id="without"),
        pytest.param({"query": ".*"}, "pears", id="no-pattern"),
        pytest.param({"query": "(green)"}, "apples", id="parentheses-are-text"),
        pytest.param({"from": "EVE"}, "apples again, apples", id="from"),
        pytest.param({"to": "bob@"}, "plums, pears", id="to-or-cc"),
        pytest.param({"subject": "AP"}, "apples again, apples", id="subject"),
        pytest.param({"or.from": "eve", "or.subject": "plum"}, "apples again, plums, apples", id="either"),
        pytest.param({"or[to]": "bob", "or[subject]": "picture"}, "a picture, plums, pears", id="either-brackets"),
        pytest.param({"attachments": "true"}, "a picture", id="attachments"),
        pytest.param({"attachments": "false"}, "apples again, a picture, plums, pears, apples", id="only-when-true"),
        pytest.param({"flagged": "true"}, "pears", id="flagged"),
        pytest.param({"unseen": "1"}, "apples again, plums, pears", id="unseen"),
        pytest.param({"seen": "1"}, "a picture, apples", id="seen"),
        pytest.param({"seen": "1", "unseen": "1"}, "apples again, plums, pears", id="unseen-beats-seen"),
        pytest.param({"minSize": "500"}, "a picture", id="at-least"),
        pytest.param({"maxSize": "500", "seen": "1"}, "apples", id="at-most"),
        pytest.param({"datestart": "2099-01-01"}, "", id="since"),
        pytest.param({"dateend": "2020-01-01"}, "", id="before"),
        pytest.param({"thread": NOBODY}, "", id="no-thread"),
        pytest.param({"q": "from:eve -in:junk"}, "apples", id="q-from"),
        pytest.param({"q": "in:junk"}, "apples again", id="q-in"),
        pytest.param({"q": "in:INBOX to:bob"}, "plums, pears", id="q-path-and-to"),
        pytest.param({"q": 'in:"sent mail"'}, "a picture", id="q-path"),
        pytest.param({"q": "has:attachment"}, "a picture", id="q-has"),
        pytest.param({"q": "(red OR blue) -subject:again"}, "plums, apples", id="q-groups"),
        pytest.param({"q": 'subject:"apples again" OR subject:pears'}, "apples again, pears", id="q-or"),
        pytest.param({"q": "green AND NOTHING"}, "", id="q-and"),
        pytest.param({"q": "-(green OR red) in:inbox"}, "plums", id="q-not-group"),
        pytest.param({"q": 'green) "unclosed'}, "", id="q-broken"),
        pytest.param({"q": "in:inbox", "from": "nobody"}, "plums, pears, apples", id="q-beats-filters"),
        pytest.param(
            {"page": "3", "unknown": "x", "q": ""}, "apples again, a picture, plums, pears, apples", id="rest"
        ),
    ],
)
async def test_found(several: Posted, parameters: dict[str, str], expected: str) -> None:
    assert ", ".join(await _subjects(several, **parameters)) == expected


async def test_ids_of_one_mailbox_and_one_thread(several: Posted) -> None:
    assert await _subjects(several, mailbox=several.mailbox, id="2:*") == ["plums", "pears"]
    assert await _subjects(several, mailbox=several.mailbox, id="1,3") == ["plums", "apples"]
    found = (await several.api.call("GET", f"{several.messages}/2")).json
    assert await _subjects(several, thread=found["thread"]) == ["pears"]
    assert await _subjects(several, q=f"thread:{found['thread']}") == ["pears"]


@pytest.mark.parametrize("order", ["", "asc", "desc"])
async def test_pages_go_both_ways(several: Posted, order: str) -> None:
    base = f"/users/{several.user}/search?limit=2&threadCounters=1&order={order}"

    async def page(more: str = "") -> Document:
        found = (await several.api.call("GET", base + more)).json
        assert found["total"] == 5
        return found

    pages = [await page()]
    while pages[-1]["nextCursor"]:
        pages.append(await page(f"&next={pages[-1]['nextCursor']}"))
    shown = [row["subject"] for each in pages for row in each["results"]]
    everything = ["apples", "pears", "plums", "a picture", "apples again"]
    assert shown == (everything if order == "asc" else everything[::-1])
    assert pages[0]["results"][0]["threadMessageCount"] == 1
    assert [each["page"] for each in pages] == [1, 2, 3]
    back = await page(f"&previous={pages[2]['previousCursor']}")
    assert back["results"] == pages[1]["results"]
    first = await page(f"&previous={back['previousCursor']}")
    assert (first["results"], first["page"], first["previousCursor"]) == (pages[0]["results"], 1, False)


@pytest.mark.parametrize(
    ("action", "found"),
    [
        pytest.param({"seen": True, "flagged": True}, [("plums", True, True), ("pears", True, True)], id="flags"),
        pytest.param({"moveTo": "trash"}, [("plums", False, False), ("pears", False, True)], id="move"),
        pytest.param({"moveTo": "trash", "seen": True}, [("plums", True, False), ("pears", True, True)], id="both"),
        pytest.param({"delete": True}, [], id="delete"),
    ],
)
async def test_an_action_on_all_that_is_found(several: Posted, action: Document, found: list[object]) -> None:
    api = several.api
    trash = await several.path_id("Trash")
    if "moveTo" in action:
        action = {**action, "moveTo": trash}
    body = {"to": "bob", "action": action, "unknown": 1}
    async with imap_session(api) as imap:
        await imap.command("SELECT INBOX")
        reply = await api.call("POST", f"/users/{several.user}/search", body)
        assert reply.json == {"success": True, "existing": False, "scheduled": reply.json["scheduled"]}
        assert await api.work() == 1
        assert len(await imap.command("NOOP")) >= 3
    rows = (await api.call("GET", f"/users/{several.user}/search?to=bob")).json["results"]
    assert [(row["subject"], row["seen"], row["flagged"]) for row in rows] == found
    if "moveTo" in action:
        assert {row["mailbox"] for row in rows} == {trash}
    if "delete" in action:
        assert (await api.call("GET", f"/users/{several.user}/archived/messages")).json["total"] == 2


@pytest.mark.parametrize(
    ("method", "parameters", "body", "status", "code"),
    [
        pytest.param("GET", {"mailbox": NOBODY}, None, 404, "NoSuchMailbox", id="mailbox"),
        pytest.param("GET", {"id": "1"}, None, 400, "InputValidationError", id="id-alone"),
        pytest.param("GET", {"q": "x" * 1025}, None, 400, "InputValidationError", id="q-long"),
        pytest.param("GET", {"q": "(" * 100 + "x"}, None, 400, "InputValidationError", id="q-deep"),
        pytest.param("GET", {"next": "abc"}, None, 400, "InputValidationError", id="cursor"),
        pytest.param("POST", {}, {}, 400, "InputValidationError", id="no-action"),
        pytest.param(
            "POST", {}, {"action": {"delete": True, "seen": True}}, 400, "InputValidationError", id="delete-and-more"
        ),
        pytest.param("POST", {}, {"action": {"moveTo": NOBODY}}, 404, "NoSuchMailbox", id="move-nowhere"),
    ],
)
async def test_refused(
    several: Posted, method: str, parameters: dict[str, str], body: object, status: int, code: str
) -> None:
    reply = await several.api.call(method, f"/users/{several.user}/search", body, params=parameters)
    assert (reply.status, reply.json["code"]) == (status, code), reply.text


async def test_no_account_no_search(posted: Posted) -> None:
    for method, path, body in (
        ("GET", f"/users/{NOBODY}/search", None),
        ("POST", f"/users/{NOBODY}/search", {"action": {"seen": True}}),
        ("GET", f"/users/{NOBODY}/archived/messages", None),
        ("POST", f"/users/{NOBODY}/archived/restore", {"start": 0, "end": 1}),
    ):
        reply = await posted.api.call(method, path, body)
        assert (reply.status, reply.json["code"]) == (404, "UserNotFound"), (method, path, reply.text)


async def test_who_may_only_read_acts_on_nothing(posted: Posted) -> None:
    token = await _token(posted.api, "downloader")
    assert (await posted.api.call("GET", f"/users/{posted.user}/search", token=token)).status == 200
    body = {"action": {"delete": True}}
    reply = await posted.api.call("POST", f"/users/{posted.user}/search", body, token=token)
    assert (reply.status, reply.json["code"]) == (403, "MissingPrivileges")


async def _token(api: Api, role: str) -> str:
    return await api.accounts.tokens.issue(role)


# The archive


async def _archived(posted: Posted, query: str = "") -> Document:
    return (await posted.api.call("GET", f"/users/{posted.user}/archived/messages?{query}")).json


async def test_an_archived_message_comes_back(posted: Posted) -> None:
    api = posted.api
    async with imap_session(api) as imap:
        for number in range(1, 5):
            await posted.post(message(number), ("\\Seen", "$Label"), "Sent Mail")
        await imap.command('SELECT "Sent Mail"')
        await imap.command("STORE 1:3 +FLAGS (\\Deleted)")
        await imap.command("EXPUNGE")
        page = await _archived(posted, "limit=2&includeHeaders=subject")
        assert [row["subject"] for row in page["results"]] == ["number 3", "number 2"]
        assert page["results"][0]["headers"] == {"subject": "number 3"}
        assert (page["total"], page["results"][0]["deleted"], page["results"][0]["seen"]) == (3, False, True)
        rest = await _archived(posted, f"limit=2&next={page['nextCursor']}")
        assert [row["subject"] for row in rest["results"]] == ["number 1"]
        back = await _archived(posted, f"limit=2&previous={rest['previousCursor']}")
        assert (back["results"], back["previousCursor"]) == (
            (await _archived(posted, "limit=2"))["results"],
            False,
        )
        assert (await _archived(posted, "order=asc"))["results"][0]["subject"] == "number 1"

        restore = f"/users/{posted.user}/archived/messages/{{}}/restore"
        sent, trash = await posted.path_id("Sent Mail"), await posted.path_id("Trash")
        first, second, third = (row["id"] for row in (await _archived(posted, "order=asc"))["results"])
        assert (await api.call("POST", restore.format(first))).json == {"success": True, "mailbox": sent, "id": 5}
        assert "* 2 EXISTS" in await imap.command("NOOP")
        assert "* 2 FETCH (FLAGS (\\Seen $Label) UID 5)" in [
            line.replace("FLAGS (\\Seen $Label \\Recent)", "FLAGS (\\Seen $Label)")
            for line in await imap.command("FETCH 2 (FLAGS UID)")
        ]
        moved = await api.call("POST", restore.format(second), {"mailbox": trash})
        assert moved.json == {"success": True, "mailbox": trash, "id": 1}
        again = await api.call("POST", restore.format(second))
        assert (again.status, again.json["code"]) == (404, "MessageNotFound")
        nowhere = await api.call("POST", restore.format(third), {"mailbox": NOBODY})
        assert (nowhere.status, nowhere.json["code"]) == (404, "NoSuchMailbox")
        assert (await api.call("POST", restore.format("5"))).json["code"] == "InputValidationError"


async def test_a_range_comes_back_to_where_it_was(posted: Posted) -> None:
    api = posted.api
    made = (await api.call("POST", f"/users/{posted.user}/mailboxes", {"path": "gone"})).json["id"]
    for path in ("gone", "INBOX", "Trash"):
        await posted.post(message(len(path)), path=path)
    await api.call("DELETE", f"{posted.messages}/1")
    await api.call("DELETE", f"/users/{posted.user}/mailboxes/{made}")
    restore = f"/users/{posted.user}/archived/restore"
    assert (await api.call("POST", restore, {"start": "2000-01-01", "end": "2001-01-01"})).json["success"] is True
    await api.work()
    assert (await _archived(posted))["total"] == 2
    reply = await api.call("POST", restore, {"start": "2000-01-01", "end": "2100-01-01"})
    assert reply.json == {"success": True, "task": reply.json["task"]}
    await api.work()
    assert (await _archived(posted))["total"] == 0
    rows = (await api.call("GET", posted.messages)).json["results"]
    assert {row["subject"] for row in rows} == {"number 4", "number 5"}
    bad = await api.call("POST", restore, {"start": False})
    assert set(bad.json["details"]) == {"start", "end"}


async def test_what_comes_after_the_request_is_not_touched(several: Posted) -> None:
    """Also when the task is begun again."""
    api = several.api
    before = (await api.call("GET", several.messages)).json["total"]
    scheduled = (await api.call("POST", f"/users/{several.user}/search", {"action": {"delete": True}})).json
    late = await several.post(message(77))
    for _ in range(2):
        assert await api.work() == 1
        await api.store.database["tasks"].update_one(
            {"_id": object_id(scheduled["scheduled"])}, [{"$set": {"due": "$$NOW"}}, {"$unset": "ended"}]
        )
    assert [row["id"] for row in (await api.call("GET", several.messages)).json["results"]] == [late]
    assert (await api.call("GET", f"/users/{several.user}/archived/messages")).json["total"] >= before


async def test_what_does_not_fit_stays_archived(posted: Posted) -> None:
    await posted.post(PICTURE)
    await posted.api.call("DELETE", f"{posted.messages}/1")
    await posted.api.call("PUT", f"/users/{posted.user}", {"quota": 100})
    (row,) = (await _archived(posted))["results"]
    reply = await posted.api.call("POST", f"/users/{posted.user}/archived/messages/{row['id']}/restore")
    assert (reply.status, reply.json["code"]) == (400, "OverQuotaError")
    assert (await _archived(posted))["total"] == 1
