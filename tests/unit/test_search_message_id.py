"""SEARCH HEADER Message-ID is decided on the message document where the header has nothing else of that name."""

from datetime import UTC, datetime

import pytest

from duckmail.mime.collation import casemap
from duckmail.mime.text import decoded_header
from duckmail.mime.words import fields
from duckmail.model import search
from duckmail.model.message import NewMessage
from duckmail.services.mail import Mail
from duckmail.services.search import FEW_MESSAGES, Search
from storage.contents.prepared import analyse
from storage.documents import IDENTIFIER, message_document
from tests.support.stores import Ears, new_account, open_store

ID = "<One.42@example.org>"
LINE = f"Message-ID: {ID}\r\n".encode()
ENCODED = b"Subject: =?utf-8?q?a=0AMessage-ID:_=3Cother=40example.org=3E?=\r\n"


@pytest.mark.parametrize(
    ("header", "only"),
    [
        pytest.param(LINE, True, id="usual"),
        pytest.param(b"Subject: x\r\nMESSAGE-ID:" + ID.encode() + b"\r\nTo: a@b.org\r\n", True, id="no-space"),
        pytest.param(b"Message-ID:\r\n " + ID.encode() + b"\r\n", True, id="folded"),
        pytest.param(b"DKIM-Signature: h=from:message-id:to; b=x\r\n" + LINE, True, id="named-by-a-signature"),
        pytest.param(b"X-Other-Message-ID: <x@y>\r\n" + LINE + b"References: <x@y>\r\n", True, id="ends-like-it"),
        pytest.param(b"Message-ID: <message-idmessage-id@example.org>\r\n", True, id="an-id-of-its-name"),
        pytest.param(b"Subject: x \tmessage-id: y\r\n" + LINE, True, id="in-a-subject"),
        pytest.param(b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n" + LINE, True, id="encoded-subject"),
        pytest.param(b"Subject: x\r\n", True, id="none"),
        pytest.param(b"Message-ID: one.42\r\n", True, id="no-brackets"),
        pytest.param(LINE + b" (comment)\r\n", False, id="continued"),
        pytest.param(b"Message-ID: " + ID.encode() + b" (comment)\r\n", False, id="comment"),
        pytest.param(LINE + b"Message-ID: <other@example.org>\r\n", False, id="two"),
        pytest.param(b"Message-ID:\r\n", False, id="empty"),
        pytest.param(b"X-A: b\x0bMessage-ID: <other@example.org>\r\n" + LINE, False, id="after-a-vertical-tab"),
        pytest.param(b"X-A: b\x1c \x1fMessage-ID\x1f: <other@example.org>\r\n" + LINE, False, id="odd-white-space"),
        pytest.param(b"\xef\xbc\xadessage-ID: <other@example.org>\r\n" + LINE, False, id="wide-letter"),
        pytest.param(ENCODED + LINE, False, id="in-an-encoded-word"),
        pytest.param(LINE + ENCODED, False, id="in-an-encoded-word-behind"),
        pytest.param(b"Message-ID: <a\x0bb@example.org>\r\n", False, id="cut-by-a-vertical-tab"),
        pytest.param(b"A: " + b"x" * 300_000 + b"\r\n" + LINE, False, id="much-header"),
    ],
)
def test_whether_there_is_more_to_compare_with(header: bytes, only: bool) -> None:
    content = analyse(header + b"\r\ntext\r\n")
    assert content.only_id is only
    if only:
        values = [value for name, value in fields(casemap(decoded_header(header))) if name == "MESSAGE-ID"]
        assert values == [casemap(content.summary.message_id)] * bool(values)


@pytest.mark.parametrize(
    ("prefix", "header", "only"),
    [
        pytest.param(b"Return-Path: <a@b.org>\r\n", LINE, True, id="usual"),
        pytest.param(b'Return-Path: <"x\x0bmessage-id:y"@b.org>\r\n', LINE, False, id="a-sender-that-names-it"),
        pytest.param(b"Return-Path: <=?utf-8?q?=0AMessage-ID:x?=@b.org>\r\n", LINE, False, id="an-encoded-sender"),
        pytest.param(b"", b"Message-ID: <" + b"x" * IDENTIFIER + b">\r\n", False, id="clipped"),
    ],
)
def test_what_the_document_says(prefix: bytes, header: bytes, only: bool) -> None:
    content = analyse(header + b"\r\ntext\r\n")
    document = message_document(NewMessage(content, prefix=prefix), content, datetime.now(UTC))
    assert document["onlyid"] is only


async def test_no_content_is_read_for_it(mongo_uri: str, database_name: str) -> None:
    """Nor for one that is not there; but for those stored before documents told whether it is all."""
    async with open_store(mongo_uri, database_name) as store:
        mail = Mail(store, await new_account(store))
        count = FEW_MESSAGES + 10
        raw = [b"Message-ID: <%03d@example.org>\r\n\r\ntext\r\n" % number for number in range(1, count + 1)]
        await mail.append("INBOX", [NewMessage(await mail.prepare(each)) for each in raw])
        view = await mail.open("INBOX", ears := Ears())
        kept = await store.database["contents"].find().to_list(None)
        await store.database["contents"].delete_many({})

        async def found(value: str) -> tuple[list[int], list[int]]:
            key = search.Header("message-id", value)
            both = []
            for columns in (None, store.columns):
                both.append(await Search(store.messages, view, 0, None, columns).run(search.Not(key)))
                assert await Search(store.messages, view, 0, None, columns).run(key) == [
                    uid for uid in view.uids if uid not in both[-1]
                ]
            return both[0], both[1]

        everything = list(range(1, count + 1))
        assert await found("<007@EXAMPLE") == ([uid for uid in everything if uid != 7],) * 2
        assert await found("<777@") == (everything,) * 2
        # As another version of the program has written them.
        await store.database["contents"].insert_many(kept)
        await store.database["messages"].update_many({"uid": {"$lte": 20}}, {"$unset": {"onlyid": 1}})
        assert await found("<007@EXAMPLE") == ([uid for uid in everything if uid != 7],) * 2
        mail.close_view(view, ears)
