"""A message that says it has nothing but its id for a search of Message-ID to compare with has nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.mime.collation import casemap
from duckmail.mime.text import decoded_header
from duckmail.mime.words import fields
from storage.contents.prepared import analyse

PIECES = (
    *(b"Message-ID: ", b"message-id", b"MESSAGE-ID\t:", b":", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\x0b", b"\x1c"),
    *(
        b"<a@b>",
        b"<A@b.org>",
        b"x",
        b"X-Message-ID: ",
        b"=?utf-8?q?=0Amessage-id:?=",
        b"=?utf-8?q?a?=",
        b"\xef\xbc\xad",
    ),
)


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join))
def test_nothing_else_is_compared_with(header: bytes) -> None:
    content = analyse(b"Subject: x\r\nMessage-ID: <a@b>\r\n" + header + b"\r\n\r\ntext\r\n")
    values = [value for name, value in fields(casemap(decoded_header(content.header))) if name == "MESSAGE-ID"]
    assert content.only_id is (values == ([casemap(content.summary.message_id)] if content.summary.message_id else []))
