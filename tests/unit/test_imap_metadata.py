"""Annotations: names, depths, limits, and what becomes of them."""

import pytest

from duckmail.errors import AnnotationTooLarge, InvalidInput, NoSuchMailbox, NotPermitted, TooManyAnnotations
from duckmail.model.annotation import MAX_ENTRIES, MAX_NAME, MAX_VALUE, entry_name, within
from protocols.imap.reply import failure
from protocols.imap.wire.framer import Literal
from protocols.imap.wire.metadata import metadata_response, value
from protocols.imap.wire.parser import Parser
from tests.support.imap import open_imap

ENTRIES = {"/private/a": b"1", "/private/a/b": b"2", "/private/a/b/c": b"3", "/private/ab": b"4"}


NO_ENTRIES = (
    *("", "/", "/other/a", "private/a", "/privateer", "/private/", "/private//a"),
    *("/shared/*", "/shared/%", "/shared/\x01", "/shared/é", "/shared/" + "x" * MAX_NAME),
)


@pytest.mark.parametrize("text", NO_ENTRIES)
def test_what_is_no_entry(text: str) -> None:
    with pytest.raises(InvalidInput):
        entry_name(text)


def test_names_are_compared_without_case() -> None:
    assert entry_name("/Shared/Vendor/X") == "/shared/vendor/x"


@pytest.mark.parametrize(
    ("name", "depth", "expected"),
    [
        pytest.param("/private/a", 0, ["/private/a"], id="itself"),
        pytest.param("/private/a", 1, ["/private/a", "/private/a/b"], id="one-level"),
        pytest.param("/private/a", None, ["/private/a", "/private/a/b", "/private/a/b/c"], id="all"),
        pytest.param("/private", 1, ["/private/a", "/private/ab"], id="no-entry-itself"),
        pytest.param("/shared", None, [], id="nothing-there"),
    ],
)
def test_depth(name: str, depth: int | None, expected: list[str]) -> None:
    assert list(within(ENTRIES, name, depth)) == expected


def test_values_may_be_any_octets() -> None:
    parser = Parser([b"", Literal(b"a\0b", binary=True), b""])
    octets = value(parser)
    parser.end()
    assert octets == b"a\0b"
    assert metadata_response("", [("/private/a", octets)], utf8=False) == b'METADATA "" (/private/a ~{3}\r\na\0b)'


async def test_limits(mongo_uri: str, database_name: str) -> None:
    async with open_imap(mongo_uri, database_name) as house:
        mail = await house.mail("anna")
        inbox = await mail.mailbox("INBOX")
        with pytest.raises(AnnotationTooLarge) as refused:
            await mail.annotations.change(inbox, {"/private/a": b"x" * (MAX_VALUE + 1), "/private/b": b""})
        assert failure(refused.value).code == f"METADATA MAXSIZE {MAX_VALUE}"
        with pytest.raises(TooManyAnnotations) as full:
            await mail.annotations.change(inbox, {f"/private/{n}": b"" for n in range(MAX_ENTRIES + 1)})
        assert failure(full.value).code == "METADATA TOOMANY"
        assert await mail.annotations.get(inbox) == {}


async def test_an_account_holds_so_much(mongo_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.annotations.MAX_ACCOUNT", 1000)
    async with open_imap(mongo_uri, database_name) as house:
        mail = await house.mail("anna")
        places = [await mail.mailbox("INBOX"), None]
        await mail.annotations.change(places[0], {"/private/a": b"x" * 600})
        with pytest.raises(TooManyAnnotations):
            await mail.annotations.change(places[1], {"/private/a": b"x" * 600})
        await mail.annotations.change(places[0], {"/private/a": None})
        await mail.annotations.change(places[1], {"/private/a": b"x" * 600})
        assert [len(entries) for entries in await mail.annotations.of(places)] == [0, 1]


async def test_of_others_and_of_deleted_mailboxes(mongo_uri: str, database_name: str) -> None:
    async with open_imap(mongo_uri, database_name) as house:
        mail, other = await house.mail("anna"), await house.mail("bert")
        mailbox = await mail.create("Work")
        await mail.annotations.change(mailbox, {"/private/a": b"x"})
        with pytest.raises(NotPermitted):
            await other.annotations.get(mailbox)
        with pytest.raises(NotPermitted):
            await other.annotations.change(mailbox, {"/private/a": None})
        await mail.delete("Work")
        assert await house.store.database["annotations"].count_documents({}) == 0
        with pytest.raises(NoSuchMailbox):
            await mail.annotations.change(mailbox, {"/private/a": b"y"})
        assert await house.store.database["annotations"].count_documents({}) == 0
