"""The tag Messages over HTTP: listing, reading, changing; IMAP sessions beside it."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.model.listing import MailboxQuery, Place
from duckmail.model.message import NewMessage
from duckmail.services.access import SYSTEM
from storage.mongo.client import Document
from tests.support.api import Api
from tests.support.posted import NOBODY, PICTURE, Posted, open_posted
from tests.support.sessions import imap_session
from tests.support.stores import message


@pytest.fixture
async def posted(api: Api) -> Posted:
    return await open_posted(api)


async def _page(posted: Posted, query: str = "") -> tuple[list[int], Document]:
    reply = await posted.api.call("GET", f"{posted.messages}?{query}")
    assert reply.status == 200, reply.text
    return [row["id"] for row in reply.json["results"]], reply.json


async def _dated(posted: Posted, days: list[int]) -> None:
    """Messages whose internal dates are so many days ago, whatever their UIDs."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    for number, ago in enumerate(days, 1):
        content = await posted.mail.prepare(message(number))
        await posted.mail.append("INBOX", [NewMessage(content, idate=now - timedelta(days=ago))])


async def test_pages_follow_the_internal_date_both_ways(posted: Posted) -> None:
    await _dated(posted, [3, 1, 2, 2, 5])
    newest = [2, 4, 3, 1, 5]  # of equal dates the higher UID is the newer one
    seen: list[int] = []
    uids, page = await _page(posted, "limit=2")
    assert (page["total"], page["page"], page["previousCursor"], page["specialUse"]) == (5, 1, False, None)
    pages = [uids]
    while page["nextCursor"]:
        uids, page = await _page(posted, f"limit=2&page=9&next={page['nextCursor']}")
        pages.append(uids)
        assert page["page"] == len(pages)
    assert [uid for each in pages for uid in each] == newest
    for number in (2, 1):
        uids, page = await _page(posted, f"limit=2&previous={page['previousCursor']}")
        assert (uids, page["page"]) == (pages[number - 1], number)
    assert page["previousCursor"] is False
    assert (await _page(posted, f"limit=2&next={page['nextCursor']}"))[0] == pages[1]
    assert (await _page(posted, "order=asc"))[0] == newest[::-1]
    uids, page = await _page(posted, "order=asc&limit=3")
    seen += uids
    uids, page = await _page(posted, f"order=asc&limit=3&next={page['nextCursor']}")
    assert [*seen, *uids] == newest[::-1]
    assert (await _page(posted, f"order=asc&limit=3&previous={page['previousCursor']}"))[0] == seen
    assert (await _page(posted, "order=sideways"))[0] == newest


async def test_unseen_narrows_and_counts(posted: Posted) -> None:
    for number in range(1, 6):
        await posted.post(message(number), ("\\Seen",) if number % 2 else ())
    assert await _page(posted, "unseen=true&limit=1") == ([4], await _body(posted, "unseen=true&limit=1", 2))
    assert (await _page(posted, "unseen=yes"))[0] == [4, 2]
    assert (await _page(posted, "unseen=false"))[0] == [5, 3, 1]
    assert (await _page(posted, "unseen="))[0] == [5, 4, 3, 2, 1]


async def _body(posted: Posted, query: str, total: int) -> Document:
    found = (await posted.api.call("GET", f"{posted.messages}?{query}")).json
    assert found["total"] == total
    return found


async def test_an_entry_says_what_the_message_holds(posted: Posted) -> None:
    await posted.post(PICTURE, ("\\Answered", "$Forwarded", "\\Flagged"))
    await posted.api.call("PUT", f"{posted.messages}/1", {"metaData": {"a": 1}})
    _, page = await _page(posted, "metaData=1&includeHeaders=subject,From,List-ID&threadCounters=1")
    (row,) = page["results"]
    assert re.fullmatch("[0-9a-f]{24}", row.pop("thread"))
    assert row.pop("idate") > "2026"
    assert row == {
        "id": 1,
        "mailbox": posted.mailbox,
        "threadMessageCount": 1,
        "from": {"name": "Jörg", "address": "joerg@x.example"},
        "to": [{"name": "", "address": "a@b.example"}, {"name": "c", "address": "c@d.example"}],
        "cc": [{"name": "", "address": "e@f.example"}],
        "bcc": [],
        "messageId": "<1@x>",
        "subject": "a picture",
        "date": "2026-11-02T09:00:00.000Z",
        "intro": "Hello",
        "attachments": True,
        "attachmentsList": row["attachmentsList"],
        "size": len(PICTURE),
        "seen": False,
        "deleted": False,
        "flagged": True,
        "draft": False,
        "answered": False,
        "forwarded": True,
        "references": ["<a@b>", "<c@d>"],
        "contentType": {"value": "multipart/mixed", "params": {"boundary": "b"}},
        "metaData": {"a": 1},
        "headers": {
            "subject": "a picture",
            "from": [{"name": "Jörg", "address": "joerg@x.example"}],
            "list-id": "Foo <foo.example>",
        },
    }
    assert [(each["id"], each["filename"], each["related"]) for each in row["attachmentsList"]] == [
        ("ATT00001", "x.png", True),
        ("ATT00002", "page.html", False),
    ]
    _, page = await _page(posted, "includeHeaders=true")
    assert "message-id" in page["results"][0]["headers"]
    assert "metaData" not in page["results"][0]


async def test_a_message_is_shown_with_its_text_and_parts(posted: Posted) -> None:
    prefix = b"Return-Path: <joerg@x.example>\r\nDelivered-To: anna@example.com\r\n"
    trace = (
        b"Authentication-Results: mx.example.com; dkim=pass header.d=x.example; spf=pass smtp.mailfrom=j@y.example\r\n"
        b"Received: from x.example (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n"
        b"\tby mx.example.com; Mon, 02 Nov 2026 10:00:00 +0100\r\n"
        b"Authentication-Results: evil.example; spf=fail smtp.mailfrom=other.example\r\n"
    )
    await posted.post(trace + PICTURE, prefix=prefix)
    found = (await posted.api.call("GET", f"{posted.messages}/1?markAsSeen=yes")).json
    assert found["envelope"] == {
        "from": "joerg@x.example",
        "rcpt": [{"value": "anna@example.com", "formatted": "anna@example.com"}],
    }
    assert found["verificationResults"] == {
        "tls": {"name": "TLS_AES_256_GCM_SHA384", "version": "TLSv1.3"},
        "spf": "y.example",
        "dkim": "x.example",
    }
    assert found["html"] == ['<p>Hello <img src="attachment:ATT00001"> <img src="cid:other"></p>']
    assert found["text"] == "Hello"
    assert found["list"] == {
        "id": {"name": "Foo", "address": "foo.example"},
        "unsubscribe": [{"name": "", "address": "u@x.example"}],
    }
    assert found["seen"] is True
    assert found["metaData"] == {}
    assert "bcc" not in found
    png, page = found["attachments"]
    assert png == {
        "id": "ATT00001",
        "filename": "x.png",
        "contentType": "image/png",
        "disposition": "attachment",
        "transferEncoding": "base64",
        "related": True,
        "sizeKb": 1,
        "hash": hashlib.sha256(b"hello world").hexdigest(),
        "cid": "<img>",
        "size": 16,
    }
    assert (page["filename"], page["cid"], page["contentType"]) == ("page.html", None, "text/html")
    replaced = (await posted.api.call("GET", f"{posted.messages}/1?replaceCidLinks=1")).json["html"][0]
    link = re.search(r'src="(/users/[^"]+)"', replaced)
    assert link
    assert (await posted.api.call("GET", link[1])).text == "hello world"

    source = await posted.api.call("GET", f"{posted.messages}/1/message.eml")
    assert source.text.encode() == prefix + trace + PICTURE
    assert source.headers["Content-Type"] == "message/rfc822"
    text = await posted.api.call("GET", f"{posted.messages}/1/attachments/att00002?sendAsString=1")
    assert (text.text.strip(), text.headers["Content-Type"]) == (
        "<script>alert(1)</script> grüße",
        "text/html; charset=utf-8",
    )
    plain = await posted.api.call("GET", f"{posted.messages}/1/attachments/ATT00002")
    assert plain.headers["Content-Type"] == "text/html; charset=iso-8859-1"
    for reply in (source, text, plain):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Content-Security-Policy"].startswith("sandbox")


async def test_large_attachments_come_as_they_were(posted: Posted) -> None:
    octets = bytes(range(256)) * 4000
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    raw = (
        b"From: a@b.example\r\nSubject: large\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nhi\r\n"
        b"--q\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + encoded
        + b"\r\n--q\r\nContent-Type: image/gif\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lG\r\n--q--\r\n"
    )
    uid = await posted.post(raw)
    found = (await posted.api.call("GET", f"{posted.messages}/{uid}")).json
    pdf, gif = found["attachments"]
    assert (pdf["hash"], pdf["sizeKb"], found["text"]) == (hashlib.sha256(octets).hexdigest(), 1000, "hi")
    assert gif["hash"] == hashlib.sha256(b"GIF").hexdigest()
    url = f"{posted.api.base}{posted.messages}/{uid}"
    headers = {"X-Access-Token": posted.api.token}
    async with posted.api.session.get(f"{url}/attachments/ATT00001", headers=headers) as response:
        assert await response.read() == octets
    async with posted.api.session.get(f"{url}/message.eml", headers=headers) as response:
        assert await response.read() == raw


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        pytest.param("GET", "{nobox}", None, 404, "NoSuchMailbox", id="list-unknown"),
        pytest.param("GET", "{foreign}", None, 404, "NoSuchMailbox", id="list-foreign"),
        pytest.param("GET", "{box}?next=x", None, 400, "InputValidationError", id="bad-cursor"),
        pytest.param("GET", "{box}?limit=251", None, 400, "InputValidationError", id="limit"),
        pytest.param("GET", "{nobox}/1", None, 404, "NoSuchMailbox", id="get-no-mailbox"),
        pytest.param("GET", "{box}/9", None, 404, "MessageNotFound", id="get-unknown"),
        pytest.param("GET", "{box}/0", None, 400, "InputValidationError", id="get-zero"),
        pytest.param("GET", "{foreign}/1/message.eml", None, 404, "NoSuchMailbox", id="eml-foreign"),
        pytest.param("GET", "{box}/9/message.eml", None, 404, "MessageNotFound", id="eml-unknown"),
        pytest.param("GET", "{box}/1/attachments/ATT00001", None, 404, "AttachmentNotFound", id="no-attachment"),
        pytest.param("GET", "{box}/1/attachments/x", None, 404, "AttachmentNotFound", id="odd-attachment"),
        pytest.param("GET", "{box}/9/attachments/ATT00001", None, 404, "MessageNotFound", id="attachment-no-message"),
        pytest.param("PUT", "{box}/9", {"seen": True}, 404, "MessageNotFound", id="put-unknown"),
        pytest.param("PUT", "{box}", {"seen": True}, 400, "InputValidationError", id="put-no-message"),
        pytest.param("PUT", "{box}", {"message": "1:2,3", "seen": 1}, 400, "InputValidationError", id="put-mixed"),
        pytest.param("PUT", "{box}/1", {}, 400, None, id="put-nothing"),
        pytest.param("PUT", "{nobox}/1", {"seen": True}, 404, "NoSuchMailbox", id="put-no-mailbox"),
        pytest.param("PUT", "{box}/1", {"moveTo": NOBODY}, 404, "NoSuchMailbox", id="move-nowhere"),
        pytest.param("PUT", "{box}/1", {"moveTo": "{foreignid}"}, 404, "NoSuchMailbox", id="move-abroad"),
        pytest.param("PUT", "{box}/9", {"moveTo": "{boxid}"}, 404, "MessageNotFound", id="move-unknown"),
        pytest.param("DELETE", "{box}/9", None, 404, None, id="delete-unknown"),
        pytest.param("DELETE", "{foreign}/1", None, 404, "NoSuchMailbox", id="delete-foreign"),
    ],
)
async def test_refused(
    api: Api, posted: Posted, method: str, path: str, body: Document | None, status: int, code: str | None
) -> None:
    other = await open_posted(api, "bert")
    await other.post(message(1))
    await posted.post(message(1))
    names = {
        "box": posted.messages,
        "nobox": f"/users/{posted.user}/mailboxes/{NOBODY}/messages",
        "foreign": f"/users/{posted.user}/mailboxes/{other.mailbox}/messages",
        "foreignid": other.mailbox,
        "boxid": posted.mailbox,
    }
    filled = {key: value.format(**names) if isinstance(value, str) else value for key, value in (body or {}).items()}
    reply = await api.call(method, path.format(**names), filled if body is not None else None)
    assert (reply.status, reply.json.get("code")) == (status, code), reply.text
    assert (await _page(other))[1]["results"][0]["seen"] is False


async def test_flags_change_in_ranges_and_imap_hears_of_it(api: Api, posted: Posted) -> None:
    for number in range(1, 6):
        await posted.post(message(number))
    put = f"{posted.messages}/{{}}"
    async with imap_session(api) as imap:
        await imap.command("SELECT INBOX")
        changed = await api.call("PUT", put.format("2:3"), {"seen": True, "flagged": True, "draft": False})
        assert changed.json == {"success": True, "updated": 2}
        heard = " ".join(await imap.command("NOOP"))
        assert heard.count("\\Seen") == 2
        mixed = await api.call("PUT", posted.messages, {"message": "2,5,77", "seen": False, "deleted": True})
        assert mixed.json["updated"] == 2
        rows = {row["id"]: row for row in (await _page(posted))[1]["results"]}
        assert [(rows[uid]["seen"], rows[uid]["deleted"], rows[uid]["flagged"]) for uid in (2, 3, 5)] == [
            (False, True, True),
            (True, False, True),
            (False, True, False),
        ]
        assert (await api.call("PUT", put.format("all"), {"seen": True})).json["updated"] == 5
        assert (await api.call("PUT", put.format("9:*"), {"seen": True})).status == 404
        assert (await api.call("PUT", put.format("4:*"), {"draft": True})).json["updated"] == 2
        await imap.command("STORE 1 +FLAGS (\\Answered)")
        assert (await api.call("GET", f"{posted.messages}/1")).json["answered"] is True


async def test_expiry_and_data_of_the_client_are_kept(posted: Posted) -> None:
    await posted.post(message(1))
    one = f"{posted.messages}/1"
    body = {"expires": "2031-02-03T04:05:06.789Z", "metaData": {"x": [1]}}
    assert (await posted.api.call("PUT", one, body)).json["updated"] == 1
    found = (await posted.api.call("GET", one)).json
    assert (found["expires"], found["metaData"]) == ("2031-02-03T04:05:06.789Z", {"x": [1]})
    await posted.api.call("PUT", one, {"expires": False, "metaData": '{"y": 2}'})
    found = (await posted.api.call("GET", one)).json
    assert "expires" not in found
    assert found["metaData"] == {"y": 2}


async def test_what_has_expired_is_archived(posted: Posted) -> None:
    for number in (1, 2, 3):
        await posted.post(message(number))
    await posted.api.call("PUT", f"{posted.messages}/1,3", {"expires": "2020-01-01"})
    await posted.api.call("PUT", f"{posted.messages}/2", {"expires": "2099-01-01"})
    async with imap_session(posted.api) as imap:
        await imap.command("SELECT INBOX")
        await posted.api.store.housekeeping.expire_messages()
        assert (await imap.command("NOOP"))[:-1] == ["* 3 EXPUNGE", "* 1 EXPUNGE"]
    assert (await _page(posted))[0] == [2]
    archived = (await posted.api.call("GET", f"/users/{posted.user}/archived/messages")).json
    assert archived["total"] == 2
    # Brought back, it does not go again.
    one = f"/users/{posted.user}/archived/messages/{archived['results'][0]['id']}/restore"
    assert (await posted.api.call("POST", one)).status == 200
    await posted.api.store.housekeeping.expire_messages()
    assert (await _page(posted))[0] == [4, 2]


async def test_messages_move_and_imap_hears_of_it(api: Api, posted: Posted) -> None:
    for number in range(1, 4):
        await posted.post(message(number))
    trash = await posted.path_id("Trash")
    async with imap_session(api) as imap:
        await imap.command("SELECT INBOX")
        moved = await api.call("PUT", f"{posted.messages}/1,3", {"moveTo": trash, "seen": True})
        assert moved.json == {"success": True, "mailbox": trash, "id": [[1, 1], [3, 2]]}
        assert "* 3 EXPUNGE" in await imap.command("NOOP")
        assert "* 2 EXISTS" in await imap.command("SELECT Trash")
    rows = (await api.call("GET", f"/users/{posted.user}/mailboxes/{trash}/messages")).json["results"]
    assert {row["seen"] for row in rows} == {True}
    again = await api.call("PUT", f"{posted.messages}/2", {"moveTo": posted.mailbox})
    assert again.json["id"] == [[2, 4]]


async def test_deleted_messages_are_archived_and_drafts_are_not(api: Api, posted: Posted) -> None:
    await posted.post(message(1))
    await posted.post(message(2), ("\\Draft",))
    await posted.post(message(3))
    async with imap_session(api) as imap:
        await imap.command("SELECT INBOX")
        for uid in (1, 2):
            assert (await api.call("DELETE", f"{posted.messages}/{uid}")).json == {"success": True}
        assert (await imap.command("NOOP"))[:-1] == ["* 2 EXPUNGE", "* 1 EXPUNGE"]
    archive = f"/users/{posted.user}/archived/messages"
    assert [row["subject"] for row in (await api.call("GET", archive)).json["results"]] == ["number 1"]
    await posted.post(message(4), ("\\Draft",))
    assert (await api.call("DELETE", posted.messages)).json == {"success": True, "deleted": 2, "errors": 0}
    assert (await api.call("GET", archive)).json["total"] == 2
    await posted.post(message(5))
    skipped = await api.call("DELETE", f"{posted.messages}?async=1&skipArchive=true")
    assert skipped.json == {"success": True, "scheduled": skipped.json["scheduled"], "existing": False}
    late = await posted.post(message(6))
    assert await api.work() == 1
    assert (await _page(posted))[0] == [late]
    assert (await api.call("GET", archive)).json["total"] == 2
    unknown = f"/users/{posted.user}/mailboxes/{NOBODY}/messages"
    assert (await api.call("DELETE", unknown)).json["deleted"] == 0


async def test_nobody_reaches_the_mail_of_another(api: Api, posted: Posted) -> None:
    bert = await open_posted(api, "bert")
    await bert.post(PICTURE)
    await posted.post(message(1))
    await bert.api.call("DELETE", f"{bert.messages}/1")
    archived = (await api.call("GET", f"/users/{bert.user}/archived/messages")).json["results"][0]["id"]
    await bert.post(PICTURE)
    token = await api.accounts.tokens.issue("user", await api.accounts.users.get(posted.user, SYSTEM))
    for method, path, body in (
        ("GET", bert.messages, None),
        ("GET", f"{bert.messages}/2", None),
        ("GET", f"{bert.messages}/2/message.eml", None),
        ("GET", f"{bert.messages}/2/attachments/ATT00001", None),
        ("PUT", bert.messages, {"message": "2", "seen": True}),
        ("PUT", f"{bert.messages}/2", {"seen": True}),
        ("DELETE", f"{bert.messages}/2", None),
        ("DELETE", bert.messages, None),
        ("GET", f"/users/{bert.user}/search", None),
        ("POST", f"/users/{bert.user}/search", {"action": {"seen": True}}),
        ("GET", f"/users/{bert.user}/archived/messages", None),
        ("POST", f"/users/{bert.user}/archived/restore", {"start": "2020-01-01", "end": "2030-01-01"}),
        ("POST", f"/users/{bert.user}/archived/messages/{archived}/restore", {}),
    ):
        reply = await api.call(method, path, body, token=token)
        assert (reply.status, reply.json["code"]) == (403, "MissingPrivileges"), (method, path, reply.text)
        own = await api.call(method, path.replace(bert.user, posted.user), body, token=token)
        assert own.status == 404 or "joerg" not in own.text
    assert (await _page(bert))[1]["results"][0]["seen"] is False


# Cost


async def _explained(posted: Posted, query: MailboxQuery) -> Document:
    """The server's own account of the query that a page makes."""
    database = posted.api.store.database
    await database.command("profile", 2)
    try:
        await posted.api.store.listing.page(posted.user, posted.mailbox, query)
    finally:
        await database.command("profile", 0)
    found = await database["system.profile"].find({"op": "query", "ns": f"{database.name}.messages"}).to_list(None)
    profile = found[-1]
    assert isinstance(profile, dict)
    return profile


@pytest.mark.parametrize("ascending", [False, True], ids=["newest-first", "oldest-first"])
@pytest.mark.parametrize("way", ["start", "after", "before"])
async def test_a_page_examines_no_more_than_it_shows(posted: Posted, way: str, ascending: bool) -> None:
    database = posted.api.store.database
    await posted.post(message(1))
    template = await database["messages"].find_one({"user": ObjectId(posted.user)})
    assert template is not None
    start = datetime(2026, 1, 1, tzinfo=UTC)
    copies = [
        {**template, "_id": ObjectId(), "uid": Int64(uid), "idate": start + timedelta(minutes=uid // 3)}
        for uid in range(2, 3002)
    ]
    await database["messages"].insert_many(copies)
    middle = Place(start + timedelta(minutes=500), 1501)
    query = MailboxQuery(250, ascending, middle if way == "after" else None, middle if way == "before" else None)
    profile = await _explained(posted, query)
    assert profile["nreturned"] == 251
    assert profile["keysExamined"] <= 251
    assert profile["docsExamined"] <= 251
    assert "IXSCAN" in profile["planSummary"]
    assert not profile.get("hasSortStage")


async def test_a_message_is_one_key_and_one_document(posted: Posted) -> None:
    for number in range(1, 20):
        await posted.post(message(number))
    database = posted.api.store.database
    await database.command("profile", 2)
    assert (await posted.api.call("GET", f"{posted.messages}/7")).status == 200
    await database.command("profile", 0)
    found = await database["system.profile"].find({"op": "query", "ns": f"{database.name}.messages"}).to_list(None)
    assert [(row["keysExamined"], row["docsExamined"]) for row in found] == [(1, 1)]


async def test_a_thread_is_listed_counted_and_searched_for(posted: Posted) -> None:
    api = posted.api
    first = b"Message-ID: <a@x>\r\nSubject: plans\r\n\r\nhi\r\n"
    reply = b"Message-ID: <b@x>\r\nReferences: <a@x>\r\nSubject: Re: plans\r\n\r\nhi\r\n"
    await posted.post(first)
    await posted.post(message(1))
    async with imap_session(api) as imap:
        await imap.command(f'APPEND "Sent Mail" {{{len(reply)}+}}\r\n{reply.decode()}')
    _, page = await _page(posted, "threadCounters=1")
    assert [row["threadMessageCount"] for row in page["results"]] == [1, 2]
    thread = page["results"][1]["thread"]
    found = (await api.call("GET", f"/users/{posted.user}/search?thread={thread}")).json
    assert [row["subject"] for row in found["results"]] == ["Re: plans", "plans"]
    assert {row["thread"] for row in found["results"]} == {thread}
