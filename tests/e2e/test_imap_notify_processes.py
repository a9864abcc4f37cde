"""NOTIFY between two processes, of a mailbox that is shared: everything is told, keywords before they are used."""

from collections.abc import AsyncIterator

import pytest

from tests.support.house import House, Lines, open_house

MAILBOX = "Shared/anna/INBOX"
Pair = tuple[Lines, Lines]  # anna in one process, bert in the other


@pytest.fixture(params=["redis", "mongodb-alone"])
async def pair(
    request: pytest.FixtureRequest, mongo_uri: str, database_name: str, redis_url: str
) -> AsyncIterator[Pair]:
    redis = redis_url if request.param == "redis" else ""
    async with (
        open_house(mongo_uri, database_name, redis) as one,
        open_house(mongo_uri, database_name, redis, slot="second") as other,
    ):
        yield await _signed_in(one, other)


async def _signed_in(one: House, other: House) -> Pair:
    for name in ("anna", "bert"):
        await one.make_user(name)
    anna, _ = await one.imap("anna")
    bert, _ = await other.imap("bert")
    assert (await anna.ask("x SETACL INBOX bert lrsw", "x ")).startswith("x OK")
    return anna, bert


async def _until(lines: Lines, begins: str) -> list[str]:
    """What the server says unasked, up to the line that begins so."""
    said = [await lines.line()]
    while said[-1] and not said[-1].startswith(begins):
        said.append(await lines.line())
    assert said[-1], said
    return said


async def _append(lines: Lines, tag: str, flags: str = "") -> None:
    assert (await lines.ask(f"{tag} APPEND INBOX ({flags}) {{12+}}\r\nSubject: a\r\n", f"{tag} ")).startswith(
        f"{tag} OK"
    )


async def test_of_a_mailbox_that_is_not_selected(pair: Pair) -> None:
    anna, bert = pair
    events = "MessageNew MessageExpunge FlagChange MailboxName MailboxMetadataChange"
    assert (await bert.ask(f"n NOTIFY SET (subtree Shared ({events}))", "n ")).startswith("n OK")
    await _append(anna, "a1")
    assert "MESSAGES 1 UIDNEXT 2" in (await _until(bert, f"* STATUS {MAILBOX}"))[-1]
    await anna.ask("a2 SELECT INBOX", "a2 ")
    await anna.ask("a3 STORE 1 +FLAGS.SILENT (\\Seen)", "a3 ")
    assert "UNSEEN 0" in (await _until(bert, f"* STATUS {MAILBOX}"))[-1]
    await anna.ask('a4 SETMETADATA INBOX (/shared/comment "ours" /private/comment "mine")', "a4 ")
    assert (await _until(bert, "* METADATA"))[-1] == f"* METADATA {MAILBOX} /shared/comment"
    # Who has no right any more hears of nothing any more (RFC 5465 §5.9).
    await anna.ask("a5 DELETEACL INBOX bert", "a5 ")
    assert (await _until(bert, "* LIST"))[-1] == f'* LIST (\\NonExistent) "/" {MAILBOX}'
    await _append(anna, "a6")
    await anna.ask("a7 SETACL INBOX bert lr", "a7 ")
    assert "MESSAGES 2 UIDNEXT 3" in (await _until(bert, f"* STATUS {MAILBOX}"))[-1]


async def test_of_the_selected_mailbox(pair: Pair) -> None:
    anna, bert = pair
    await bert.ask(f"s SELECT {MAILBOX}", "s ")
    events = "MessageNew (UID FLAGS) MessageExpunge FlagChange"
    assert (await bert.ask(f"n NOTIFY SET (selected ({events}))", "n ")).startswith("n OK")
    await anna.ask("a1 SELECT INBOX", "a1 ")
    # RFC 3501 §7.2.6: what a FETCH uses was announced before: by a new message, and by a change of flags.
    for step, keyword in (("APPEND", "$Forwarded"), ("STORE", "$Junk")):
        if step == "APPEND":
            await _append(anna, "a2", keyword)
        else:
            await anna.ask(f"a3 STORE 1 +FLAGS.SILENT ({keyword})", "a3 ")
        said = await _until(bert, "* 1 FETCH")
        assert keyword in said[-1]
        flags, permanent = (
            next(at for at, line in enumerate(said) if name in line) for name in ("* FLAGS", "PERMANENT")
        )
        assert flags < permanent < len(said) - 1
        assert keyword in said[flags]
        assert keyword in said[permanent]
    await anna.ask("a4 STORE 1 +FLAGS.SILENT (\\Deleted)", "a4 ")
    await anna.ask("a5 EXPUNGE", "a5 ")
    assert (await _until(bert, "* 1 EXPUNGE"))[-1] == "* 1 EXPUNGE"
