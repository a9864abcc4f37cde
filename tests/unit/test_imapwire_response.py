"""Values as IMAP octets."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from duckmail.model.ranges import Ranges
from protocols.imap.wire import response
from protocols.imap.wire.syntax import ATOM_CHAR


@pytest.mark.parametrize(
    ("data", "utf8", "expected"),
    [
        pytest.param(b"", False, b'""', id="empty"),
        pytest.param(b"a b", False, b'"a b"', id="quoted"),
        pytest.param(b'a"\\', False, b'"a\\"\\\\"', id="escapes"),
        pytest.param(b"a\r\nb", False, b"{4}\r\na\r\nb", id="line-end"),
        pytest.param(b"\n", True, b"{1}\r\n\n", id="lf-with-utf8"),
        pytest.param(b"\0", False, b"{1}\r\n\0", id="nul"),
        pytest.param("ü".encode(), False, b"{2}\r\n\xc3\xbc", id="above-127"),
        pytest.param("ü".encode(), True, b'"\xc3\xbc"', id="utf-8-when-enabled"),
        pytest.param(b"\xfc", True, b"{1}\r\n\xfc", id="no-utf-8-when-enabled"),
        pytest.param(b"\t\x7f", False, b'"\t\x7f"', id="control-characters"),
        pytest.param(b"x" * 1001, False, b"{1001}\r\n" + b"x" * 1001, id="long"),
    ],
)
def test_quoted_or_literal(data: bytes, utf8: bool, expected: bytes) -> None:
    assert response.quoted_or_literal(data, utf8) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"INBOX", b"INBOX", id="atom"),
        pytest.param(b"", b'""', id="empty"),
        pytest.param(b"nil", b'"nil"', id="nil-is-quoted"),
        pytest.param(b"a]", b'"a]"', id="bracket-is-quoted"),
        pytest.param(b"a%", b'"a%"', id="wildcard-is-quoted"),
        pytest.param(b"\xff", b"{1}\r\n\xff", id="literal"),
    ],
)
def test_astring(data: bytes, expected: bytes) -> None:
    assert response.astring(data) == expected


def test_atoms_are_what_the_grammar_takes() -> None:
    for octet in range(256):
        one = bytes([octet])
        assert (response.astring(one) == one) == bool(re.fullmatch(ATOM_CHAR, one))


def test_nstring() -> None:
    assert response.nstring(None) == b"NIL"
    assert response.nstring(b"NIL") == b'"NIL"'


@pytest.mark.parametrize(
    ("path", "utf8", "expected"),
    [
        pytest.param("INBOX", False, b"INBOX", id="inbox"),
        pytest.param("Entwürfe", False, b"Entw&APw-rfe", id="modified-utf-7"),
        pytest.param("Entwürfe", True, '"Entwürfe"'.encode(), id="utf-8"),
        pytest.param("R&D", True, b"R&D", id="ampersand-with-utf8"),
        pytest.param("R&D", False, b"R&-D", id="ampersand"),
        pytest.param("a b", False, b'"a b"', id="space"),
    ],
)
def test_mailbox_name(path: str, utf8: bool, expected: bytes) -> None:
    assert response.mailbox_name(path, utf8) == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        pytest.param(datetime(2024, 7, 17, 2, 44, 25, tzinfo=UTC), b'"17-Jul-2024 02:44:25 +0000"', id="utc"),
        pytest.param(datetime(1, 1, 2, 3, 4, 5, 999999, tzinfo=UTC), b'" 2-Jan-0001 03:04:05 +0000"', id="first-year"),
        pytest.param(
            datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
            b'"29-Feb-2024 00:00:00 -0330"',
            id="west",
        ),
        pytest.param(
            datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            b'"29-Feb-2024 00:00:00 +0545"',
            id="east",
        ),
    ],
)
def test_internal_date(moment: datetime, expected: bytes) -> None:
    assert response.internal_date(moment) == expected


def test_an_internal_date_has_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        response.internal_date(datetime(2024, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(response.flag_list(()), b"()", id="no-flags"),
        pytest.param(response.flag_list(("\\Seen", "$Work")), b"(\\Seen $Work)", id="flags"),
        pytest.param(response.capability(["IMAP4rev1", "IDLE"]), b"CAPABILITY IMAP4rev1 IDLE", id="capability"),
        pytest.param(
            response.list_response(["\\HasNoChildren", "\\Sent"], "Sent Mail", False),
            b'LIST (\\HasNoChildren \\Sent) "/" "Sent Mail"',
            id="list",
        ),
        pytest.param(response.list_response((), "ü", True, "LSUB"), 'LSUB () "/" "ü"'.encode(), id="lsub"),
        pytest.param(response.list_response(["\\Noselect"], "", False), b'LIST (\\Noselect) "/" ""', id="root"),
        pytest.param(
            response.status_response("a b", [("MESSAGES", 231), ("APPENDLIMIT", b"NIL")], False),
            b'STATUS "a b" (MESSAGES 231 APPENDLIMIT NIL)',
            id="status",
        ),
        pytest.param(response.status_response("x", [], False), b"STATUS x ()", id="status-of-nothing"),
        pytest.param(response.search_response([]), b"SEARCH", id="search-nothing"),
        pytest.param(response.search_response([2, 84, 882]), b"SEARCH 2 84 882", id="search"),
        pytest.param(response.search_response([2, 5], 917162500), b"SEARCH 2 5 (MODSEQ 917162500)", id="search-modseq"),
        pytest.param(response.sequence_set(Ranges.of(1, 2, 3, 9)), b"1:3,9", id="sequence-set"),
        pytest.param(response.append_uid(38505, [3955]), b"APPENDUID 38505 3955", id="appenduid"),
        pytest.param(
            response.copy_uid(38505, [304, 319, 320], [3956, 3957, 3958]), b"COPYUID 38505 304,319:320 3956:3958"
        ),
        pytest.param(
            response.id_response([("name", "x"), ("version", "1")]), b'ID ("name" "x" "version" "1")', id="id"
        ),
        pytest.param(response.id_response([]), b"ID NIL", id="id-nil"),
        pytest.param(response.namespace(), b'NAMESPACE (("" "/")) NIL NIL', id="namespace"),
        pytest.param(
            response.namespace(others="Shared/"),
            b'NAMESPACE (("" "/")) (("Shared/" "/")) NIL',
            id="namespace-of-others",
        ),
        pytest.param(response.acl("A b", [("x", "lr"), ("-y", "")], False), b'ACL "A b" x lr -y ""', id="acl"),
        pytest.param(response.acl("A", [], False), b"ACL A", id="acl-of-nobody"),
        pytest.param(response.list_rights("A", "x y", ["", "l"], False), b'LISTRIGHTS A "x y" "" l', id="listrights"),
        pytest.param(response.my_rights("\xe9", "", False), b'MYRIGHTS &AOk- ""', id="myrights"),
        pytest.param(response.literal_header(12), b"{12}\r\n", id="literal-header"),
        pytest.param(response.resp_text("done"), b"done", id="text"),
        pytest.param(response.resp_text("done", b"READ-ONLY"), b"[READ-ONLY] done", id="text-with-code"),
        pytest.param(response.resp_text("a\r\n* BYE \xfc"), b"a??* BYE ?", id="text-is-one-line-of-ascii"),
        pytest.param(response.resp_text("[ALERT] x"), b" [ALERT] x", id="text-is-no-code"),
        pytest.param(response.resp_text(""), b"-", id="text-is-not-empty"),
    ],
)
def test_responses(found: bytes, expected: bytes) -> None:
    assert found == expected
