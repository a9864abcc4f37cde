"""Messages written over HTTP: what is made of the fields, where it is kept, and what is queued of it."""

import base64
import email
import email.policy
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from duckmail.model.queue import Origin, QueuedMessage
from storage.addressrecords import AddressRecord
from tests.support.api import Api, Reply
from tests.support.posted import PICTURE, Posted, open_posted
from tests.support.stores import message

TO = [{"name": "Jörg", "address": "x@remote.example"}]


@pytest.fixture
async def posted(api: Api) -> Posted:
    return await open_posted(api)


async def _octets(posted: Posted, uid: int, mailbox: str = "") -> bytes:
    path = f"/users/{posted.user}/mailboxes/{mailbox or posted.mailbox}/messages/{uid}/message.eml"
    url = posted.api.base + path
    async with posted.api.session.get(url, headers={"X-Access-Token": posted.api.token}) as response:
        assert response.status == 200
        return await response.read()


def _parsed(octets: bytes) -> EmailMessage:
    found = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


async def _message(posted: Posted, uid: int, mailbox: str = "") -> EmailMessage:
    return _parsed(await _octets(posted, uid, mailbox))


async def _post(posted: Posted, body: dict[str, Any], path: str = "") -> Reply:
    reply = await posted.api.call("POST", path or posted.messages, body)
    assert reply.status == 200, reply.text
    return reply


async def _entry(posted: Posted, uid: int, mailbox: str = "") -> dict[str, Any]:
    path = f"/users/{posted.user}/mailboxes/{mailbox or posted.mailbox}/messages/{uid}"
    return (await posted.api.call("GET", path)).json


async def _queued(posted: Posted) -> list[tuple[QueuedMessage, bytes]]:
    found = []
    store = posted.api.store
    async for each in store.queue.messages():
        (content,) = (await store.contents.load([each.content])).values()
        found.append((each, b"".join([piece async for piece in content.read()])))
    return found


async def test_the_fields_of_a_message(posted: Posted) -> None:
    body = {
        "from": {"name": "Anna Müller", "address": "anna@example.com"},
        "replyTo": {"name": "R", "address": "r@x.example"},
        "to": [*TO, {"address": "not an address"}, {"address": "y@grün.example"}],
        "cc": [{"address": "c@x.example"}],
        "bcc": [{"address": "b@x.example"}],
        "headers": [
            {"key": "X-Mailer", "value": "mine ü"},
            {"key": "List-Unsubscribe", "value": "<mailto:u@x.example>"},
        ],
        "subject": "Grüße",
        "text": "text ü",
        "html": '<p>html <img src="cid:pic"></p>',
        "attachments": [
            {"content": base64.b64encode(b"\x89PNG").decode(), "filename": "p.png", "contentType": "image/png",
             "cid": "pic", "contentDisposition": "inline"},
            {"content": "grün", "encoding": "utf8", "filename": "ü.txt", "contentType": "text/plain; charset=utf-8"},
        ],
        "metaData": {"k": 1},
        "date": "2026-01-02T03:04:05Z",
        "flagged": True,
    }  # fmt: skip
    uid = (await _post(posted, body)).json["message"]["id"]
    made = await _message(posted, uid)
    assert made["From"] == "Anna Müller <anna@example.com>"
    assert made["Reply-To"] == "R <r@x.example>"
    assert made["To"] == "Jörg <x@remote.example>, y@xn--grn-ioa.example"
    assert (made["Cc"], made["Bcc"], made["Subject"]) == ("c@x.example", "b@x.example", "Grüße")
    assert (made["X-Mailer"], made["List-Unsubscribe"]) == ("mine ü", "<mailto:u@x.example>")
    assert made["Message-ID"].endswith("@mail.example.com>")
    assert abs(parsedate_to_datetime(made["Date"]) - datetime.now(UTC)) < timedelta(minutes=1)
    entry = await _entry(posted, uid)
    assert [(each["filename"], each["related"]) for each in entry["attachments"]] == [("p.png", True), ("ü.txt", False)]
    assert entry["html"][0].rstrip() == '<p>html <img src="attachment:ATT00001"></p>'
    assert (entry["text"], entry["metaData"], entry["idate"]) == ("text ü", {"k": 1}, "2026-01-02T03:04:05.000Z")
    assert (entry["seen"], entry["flagged"], entry["draft"]) == (True, True, False)


async def test_a_sender_that_is_not_the_accounts_is_not_said(posted: Posted) -> None:
    uid = (await _post(posted, {"from": {"name": "Boss", "address": "boss@example.com"}})).json["message"]["id"]
    assert (await _message(posted, uid))["From"] == "Boss <anna@example.com>"
    uid = (await _post(posted, {})).json["message"]["id"]
    assert (await _message(posted, uid))["From"] == "anna@example.com"
    changed = await posted.api.call("PUT", f"/users/{posted.user}", {"fromWhitelist": ["boss@*"], "name": "Anna"})
    assert changed.status == 200, changed.text
    uid = (await _post(posted, {"from": {"address": "boss@x.example"}})).json["message"]["id"]
    assert (await _message(posted, uid))["From"] == "boss@x.example"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"subject": "a\r\nBcc: evil@x.example\r\n\r\nbody"}, id="subject"),
        pytest.param({"headers": [{"key": "X-A", "value": "a\nBcc: evil@x.example"}]}, id="value"),
        pytest.param({"headers": [{"key": "X-A: a\r\nBcc", "value": "evil@x.example"}]}, id="key"),
        pytest.param({"headers": [{"key": "Bcc", "value": "evil@x.example"}]}, id="bcc"),
        pytest.param({"headers": [{"key": "FROM", "value": "evil@x.example"}]}, id="from"),
        pytest.param({"headers": [{"key": "Reply-To", "value": "a@b.example\r\nBcc: evil@x.example"}]}, id="reply-to"),
        pytest.param({"headers": [{"key": "Content-Type", "value": "text/evil"}]}, id="content-type"),
        pytest.param({"from": {"name": "a\r\nBcc: evil@x.example", "address": "anna@example.com"}}, id="name"),
        pytest.param(
            {
                "attachments": [
                    {"content": "eA==", "filename": "a\r\nBcc: evil@x.example\r\n\r\n", "cid": "a>\r\nBcc: e"}
                ]
            },
            id="file-name",
        ),
        pytest.param({"attachments": [{"content": "eA==", "contentType": "a/b\r\nBcc: evil@x.example"}]}, id="type"),
    ],
)
async def test_no_header_is_smuggled_in(posted: Posted, body: dict[str, Any]) -> None:
    uid = (await _post(posted, {"to": TO, "text": "t", **body})).json["message"]["id"]
    made = await _message(posted, uid)
    assert made["Bcc"] is None
    assert made.get_all("From") == [made["From"]]
    assert "anna@example.com" in made["From"]
    assert "evil" not in made.get_content_type()
    for part in made.walk():
        assert {name.lower() for name in part.keys()} <= {  # noqa: SIM118 -- no mapping
            "from", "to", "subject", "date", "message-id", "mime-version", "x-a", "reply-to",
            "content-type", "content-disposition", "content-transfer-encoding", "content-id",
        }  # fmt: skip


RAW = b"Subject: raw\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("kind", "octets", "kept"),
    [
        pytest.param("message/rfc822", RAW, RAW, id="message"),
        pytest.param("application/octet-stream", RAW, RAW, id="octets"),
        pytest.param("text/plain", b"Subject: x\n\nb\xff\n", b"Subject: x\r\n\r\nb\xff\r\n", id="line-ends"),
    ],
)
async def test_a_raw_body(posted: Posted, kind: str, octets: bytes, kept: bytes) -> None:
    headers = {"Content-Type": kind, "X-Access-Token": posted.api.token}
    reply = await posted.api.call("POST", f"{posted.messages}?unseen=yes&draft=1", data=octets, headers=headers)
    assert reply.status == 200, reply.text
    uid = reply.json["message"]["id"]
    assert await _octets(posted, uid) == kept
    entry = await _entry(posted, uid)
    assert (entry["seen"], entry["draft"], reply.json["message"]["size"]) == (False, True, len(kept))


@pytest.mark.parametrize("raw", [RAW.decode(), base64.b64encode(RAW).decode(), base64.encodebytes(RAW).decode()])
async def test_raw_in_json(posted: Posted, raw: str) -> None:
    uid = (await _post(posted, {"raw": raw, "subject": "not this", "to": TO})).json["message"]["id"]
    assert await _octets(posted, uid) == RAW


async def test_an_answer_takes_over_what_it_needs(posted: Posted) -> None:
    await posted.post(PICTURE.replace(b"a@b.example", b"anna@example.com"))
    reference: dict[str, Any] = {"mailbox": posted.mailbox, "id": 1, "action": "replyAll"}
    uid = (await _post(posted, {"reference": reference, "text": "yes"})).json["message"]["id"]
    made = await _message(posted, uid)
    assert made["To"] == "Jörg <joerg@x.example>, c <c@d.example>"
    assert made["Cc"] == "e@f.example"
    assert made["Subject"] == "Re: a picture"
    assert (made["In-Reply-To"], made["References"]) == ("<1@x>", "<a@b> <c@d> <1@x>")
    entry = await _entry(posted, uid)
    assert entry["draft"] is True
    assert entry["reference"] == reference
    assert entry["thread"] == (await _entry(posted, 1))["thread"]
    body = {"reference": {**reference, "action": "reply"}, "to": TO, "subject": "other"}
    made = await _message(posted, (await _post(posted, body)).json["message"]["id"])
    assert (made["To"], made["Cc"], made["Subject"]) == ("Jörg <x@remote.example>", None, "other")
    body = {"reference": {"mailbox": posted.mailbox, "id": 99, "action": "reply"}, "subject": "s"}
    uid = (await _post(posted, body)).json["message"]["id"]
    assert (await _message(posted, uid))["In-Reply-To"] is None
    assert "reference" not in await _entry(posted, uid)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        pytest.param(False, [], id="none"),
        pytest.param(True, ["page.html"], id="all-but-those-of-the-text"),
        pytest.param(["ATT00001"], ["x.png"], id="one"),
        pytest.param(["att00002", "ATT00009"], ["page.html"], id="one-and-one-that-is-not-there"),
    ],
)
async def test_attachments_of_what_is_forwarded(posted: Posted, wanted: object, names: list[str]) -> None:
    await posted.post(PICTURE)
    reference = {"mailbox": posted.mailbox, "id": 1, "action": "forward", "attachments": wanted}
    made = await _message(posted, (await _post(posted, {"reference": reference, "text": "see"})).json["message"]["id"])
    assert (made["Subject"], made["To"], made["In-Reply-To"]) == ("Fwd: a picture", None, None)
    found = list(made.iter_attachments())
    assert [part.get_filename() for part in found] == names
    contents = {"page.html": "<script>alert(1)</script> grüße".encode("latin-1"), "x.png": b"hello world"}
    assert [part.get_payload(decode=True) for part in found] == [contents[name] for name in names]


async def test_another_accounts_message_is_no_reference(posted: Posted) -> None:
    other = await open_posted(posted.api, "bert")
    await other.post(PICTURE)
    reference = {"mailbox": other.mailbox, "id": 1, "action": "forward", "attachments": True}
    made = await _message(posted, (await _post(posted, {"reference": reference})).json["message"]["id"])
    assert (made["Subject"], list(made.walk())[1:]) == (None, [])
    file = (await posted.api.call("POST", f"/users/{other.user}/storage", {"content": "secret"})).json["id"]
    made = await _message(posted, (await _post(posted, {"files": [file]})).json["message"]["id"])
    assert list(made.walk())[1:] == []


async def test_files_go_along_and_a_draft_takes_the_place_of_the_last(posted: Posted) -> None:
    upload = {"content": "contents", "filename": "a.txt", "contentType": "text/plain"}
    file = (await posted.api.call("POST", f"/users/{posted.user}/storage", upload)).json["id"]
    first = (await _post(posted, {"draft": True, "files": [file]})).json["message"]["id"]
    (part,) = (await _message(posted, first)).iter_attachments()
    assert (part.get_filename(), part.get_payload(decode=True)) == ("a.txt", b"contents")
    assert (await _entry(posted, first))["files"] == [
        {"id": file, "filename": "a.txt", "contentType": "text/plain", "size": 8}
    ]
    reply = await _post(posted, {"draft": True, "replacePrevious": {"mailbox": posted.mailbox, "id": first}})
    assert reply.json["previousDeleted"] is True
    assert (await posted.api.call("GET", f"{posted.messages}/{first}")).status == 404
    assert await posted.api.store.database["archived"].count_documents({}) == 0
    reply = await _post(posted, {"draft": True, "replacePrevious": {"id": first}})
    assert (reply.json["previousDeleted"], reply.json["previousDeleteError"]) == (False, "Message was not found")


async def test_quota_of_an_upload(posted: Posted) -> None:
    assert (await posted.api.call("PUT", f"/users/{posted.user}", {"quota": 1000})).status == 200
    reply = await posted.api.call("POST", posted.messages, {"text": "x" * 1000})
    assert (reply.status, reply.json["code"]) == (400, "OverQuotaError")
    reply = await posted.api.call("POST", f"/users/{posted.user}/submit", {"to": TO, "text": "x" * 1000})
    assert reply.json["overQuota"] is True
    assert reply.json["message"]["id"] is False
    assert len(await _queued(posted)) == 1


# -- sent --------------------------------------------------------------------------------------------------------------


async def test_a_draft_goes_out_once(posted: Posted) -> None:
    await posted.post(message(1))
    drafts, sent_box = await posted.path_id("Drafts"), await posted.path_id("Sent Mail")
    base = f"/users/{posted.user}/mailboxes/{drafts}/messages"
    file = (await posted.api.call("POST", f"/users/{posted.user}/storage", {"content": "x"})).json["id"]
    body = {
        "to": TO,
        "cc": [{"address": "X@Remote.Example"}],
        "bcc": [{"address": "b@remote.example"}],
        "subject": "s",
        "text": "t",
        "files": [file],
        "metaData": {"k": 1},
        "draft": True,
        "reference": {"mailbox": posted.mailbox, "id": 1, "action": "forward"},
    }
    uid = (await _post(posted, body, base)).json["message"]["id"]
    reply = await _post(posted, {"deleteFiles": True}, f"{base}/{uid}/submit")
    kept = reply.json["message"]
    assert kept["mailbox"] == sent_box
    [(queued, octets)] = await _queued(posted)
    assert (queued.id, queued.user, queued.origin) == (reply.json["queueId"], posted.user, Origin.API)
    assert queued.envelope.sender == "anna@example.com"
    assert [each.address for each in queued.recipients] == ["x@remote.example", "b@remote.example"]
    assert queued.prefix.startswith(b"Received: by mail.example.com with HTTP id ")
    assert (_parsed(octets)["Bcc"], _parsed(octets)["Subject"]) == (None, "s")
    assert (await _message(posted, kept["id"], sent_box))["Bcc"] == "b@remote.example"
    entry = await _entry(posted, kept["id"], sent_box)
    assert (entry["seen"], entry["draft"], entry["metaData"]) == (True, False, {"k": 1})
    (outbound,) = entry["outbound"]
    assert outbound["queueId"] == queued.id
    assert [(each["seq"], each["recipient"]) for each in outbound["entries"]] == [
        ("001", "x@remote.example"),
        ("002", "b@remote.example"),
    ]
    assert (await posted.api.call("GET", f"{base}/{uid}")).status == 404
    original = await _entry(posted, 1)
    assert original["forwarded"] is True
    assert (await posted.api.call("GET", f"/users/{posted.user}/storage")).json["total"] == 0
    again = await posted.api.call("POST", f"{base}/{uid}/submit", {})
    assert (again.status, again.json["code"]) == (404, "MessageNotFound")


async def test_a_draft_that_was_left_over_is_not_sent_again(posted: Posted, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the process ends between the commit and the removal of the draft."""
    uid = (await _post(posted, {"to": TO, "draft": True, "text": "t"})).json["message"]["id"]
    sending = posted.api.services.messages.sending

    async def nothing(*_: object) -> None:
        pass

    with monkeypatch.context() as patched:
        patched.setattr(sending, "_forget", nothing)
        first = await _post(posted, {}, f"{posted.messages}/{uid}/submit")
    second = await _post(posted, {}, f"{posted.messages}/{uid}/submit")
    assert second.json == first.json
    assert len(await _queued(posted)) == 1
    assert (await posted.api.call("GET", f"{posted.messages}/{uid}")).status == 404


async def test_a_draft_to_nobody_stays(posted: Posted) -> None:
    uid = (await _post(posted, {"draft": True, "text": "t"})).json["message"]["id"]
    assert (await _post(posted, {}, f"{posted.messages}/{uid}/submit")).json == {"success": True}
    assert (await _entry(posted, uid))["draft"] is True
    assert await _queued(posted) == []


async def test_a_raw_draft_says_who_sends_it(posted: Posted) -> None:
    raw = (
        b"From: Boss <boss@other.example>\r\nDate: Mon, 02 Nov 2020 10:00:00 +0100\r\nTo: x@remote.example\r\n\r\nb\r\n"
    )
    uid = await posted.post(raw, ("\\Draft", "\\Flagged", "$Label"))
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    reply = await _post(posted, {"sendTime": later.isoformat()}, f"{posted.messages}/{uid}/submit")
    [(queued, octets)] = await _queued(posted)
    made = _parsed(octets)
    assert made["From"] == "Boss <anna@example.com>"
    assert made["X-Original-From"] == "Boss <boss@other.example>"
    assert parsedate_to_datetime(made["Date"]) == later
    assert made["Message-ID"]
    assert octets.endswith(b"\r\n\r\nb\r\n")
    assert queued.envelope.sender == "anna@example.com"
    assert [each.due for each in queued.recipients] == [later]
    sent = reply.json["message"]
    assert (await _entry(posted, sent["id"], sent["mailbox"]))["flagged"] is True
    assert (await posted.api.call("DELETE", f"/users/{posted.user}/outbound/{queued.id}")).json == {"success": True}
    assert await _queued(posted) == []
    assert "outbound" not in await _entry(posted, sent["id"], sent["mailbox"])


async def test_submit_keeps_and_sends(posted: Posted) -> None:
    await posted.post(message(1))
    draft = (await _post(posted, {"draft": True, "text": "t"})).json["message"]["id"]
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    body = {
        "to": TO,
        "text": "t",
        "subject": "s",
        "meta": {"k": 1},
        "draft": {"mailbox": posted.mailbox, "id": draft},
        "sendTime": later.isoformat(),
        "envelope": {"from": {"address": "boss@x.example"}, "to": [{"address": "only@remote.example"}]},
        "reference": {"mailbox": posted.mailbox, "id": 1, "action": "reply"},
        "unknown": 1,
    }
    reply = await _post(posted, body, f"/users/{posted.user}/submit")
    made = reply.json["message"]
    [(queued, octets)] = await _queued(posted)
    assert (made["queueId"], made["mailbox"]) == (queued.id, await posted.path_id("Sent Mail"))
    assert queued.envelope.sender == "anna@example.com"
    assert [(each.address, each.due) for each in queued.recipients] == [("only@remote.example", later)]
    assert _parsed(octets)["To"] == "Jörg <x@remote.example>"
    entry = await _entry(posted, made["id"], made["mailbox"])
    assert (entry["seen"], entry["draft"], entry["metaData"]) == (True, False, {"k": 1})
    assert (await _entry(posted, 1))["answered"] is True
    assert (await posted.api.call("GET", f"{posted.messages}/{draft}")).status == 404


@pytest.mark.parametrize(
    ("body", "folder", "draft"),
    [
        pytest.param({"isDraft": True}, "Drafts", True, id="draft"),
        pytest.param({"uploadOnly": True}, "Sent Mail", False, id="upload-only"),
        pytest.param({"uploadOnly": True, "isDraft": True}, "Drafts", True, id="both"),
        pytest.param({"uploadOnly": True, "mailbox": "INBOX"}, "INBOX", False, id="mailbox"),
    ],
)
async def test_what_is_only_kept(posted: Posted, body: dict[str, Any], folder: str, draft: bool) -> None:
    if "mailbox" in body:
        body = {**body, "mailbox": posted.mailbox}
    made = (await _post(posted, {"to": TO, **body}, f"/users/{posted.user}/submit")).json["message"]
    assert (made["mailbox"], made["queueId"]) == (await posted.path_id(folder), False)
    assert (await _entry(posted, made["id"], made["mailbox"]))["draft"] is draft
    assert await _queued(posted) == []


async def test_a_stored_message_is_sent_on(posted: Posted) -> None:
    await posted.post(PICTURE, prefix=b"Return-Path: <joerg@x.example>\r\n")
    assert (await _post(posted, {}, f"{posted.messages}/1/forward")).json == {"success": True, "forwarded": []}
    addresses = ["a@remote.example", "b@remote.example", "A@remote.example"]
    reply = await _post(posted, {"addresses": addresses}, f"{posted.messages}/1/forward")
    assert reply.json["forwarded"] == [
        {"seq": "001", "type": "mail", "value": "a@remote.example"},
        {"seq": "002", "type": "mail", "value": "b@remote.example"},
    ]
    [(queued, octets)] = await _queued(posted)
    assert queued.id == reply.json["queueId"]
    assert (octets, queued.envelope.sender, queued.origin) == (PICTURE, "anna@example.com", Origin.FORWARD)
    assert queued.prefix.startswith(b"Received: by mail.example.com with HTTP;")
    assert b"Return-Path" not in queued.prefix


async def _local_domain_of_one_label(posted: Posted) -> None:
    """As `make run` has it: an account of the host's own name."""
    other = await posted.api.make_user("demo", address="demo@example.com")
    record = AddressRecord(id="", user=other, address="demo@localhost", view="demo@localhost")
    await posted.api.store.address_records.create(record)


async def test_a_domain_of_one_label_that_is_here(posted: Posted) -> None:
    await _local_domain_of_one_label(posted)
    here, there = "demo@localhost", "demo@nowhere"
    user = f"/users/{posted.user}"
    assert (await _post(posted, {"to": [{"address": here}], "text": "x"}, f"{user}/submit")).json["success"]
    drafts = f"{user}/mailboxes/{await posted.path_id('Drafts')}/messages"
    draft = (await _post(posted, {"to": [{"address": here}], "text": "x", "draft": True}, drafts)).json["message"]["id"]
    assert (await _post(posted, {}, f"{drafts}/{draft}/submit")).json["queueId"]
    await posted.post(PICTURE)
    inbox = f"{posted.messages}/1"
    assert (await _post(posted, {"addresses": [here]}, f"{inbox}/forward")).json["queueId"]
    assert [[each.address for each in queued.recipients] for queued, _ in await _queued(posted)] == [[here]] * 3
    assert (await _post(posted, {"address": "anna@localhost"}, f"{user}/addresses")).json["success"]
    # Elsewhere it is nobody's: left out of To, as other addresses that are none, and refused where that is strict.
    for at, body, code in (
        (f"{user}/submit", {"to": [{"address": there}], "text": "x"}, "ENORECIPIENTS"),
        (f"{user}/submit", {"cc": [{"address": there}], "text": "x"}, "InputValidationError"),
        (f"{inbox}/forward", {"addresses": [there]}, "InputValidationError"),
        (f"{user}/addresses", {"address": there}, "InputValidationError"),
    ):
        reply = await posted.api.call("POST", at, body)
        assert (reply.status, reply.json["code"]) == (400, code), at
    both = {"to": [{"address": there}, {"address": here}], "text": "x"}
    assert (await _post(posted, both, f"{user}/submit")).json["success"]
    assert [each.address for each in (await _queued(posted))[-1][0].recipients] == [here]


async def test_what_others_have_queued_stays(posted: Posted) -> None:
    await _post(posted, {"to": TO}, f"/users/{posted.user}/submit")
    [(queued, _)] = await _queued(posted)
    other = await open_posted(posted.api, "bert")
    reply = await posted.api.call("DELETE", f"/users/{other.user}/outbound/{queued.id}")
    assert (reply.json["success"], reply.json["code"]) == (False, "NoSuchQueueEntry")
    assert len(await _queued(posted)) == 1
