"""Threads of an account's messages: in whatever order they come, whatever their mailers leave out."""

import asyncio
import itertools

import pytest

from duckmail.mime.subject import base_subject
from duckmail.model.message import NewMessage
from duckmail.services.mail import Mail
from storage.store import Store
from tests.support.stores import new_account


def letter(number: str, subject: str = "plans", references: str = "", answers: str = "") -> bytes:
    lines = [f"From: a@b.example\r\nSubject: {subject}\r\nMessage-ID: <{number}@x>\r\n"]
    if references:
        lines.append("References: " + " ".join(f"<{each}@x>" for each in references) + "\r\n")
    if answers:
        lines.append(f"In-Reply-To: <{answers}@x>\r\n")
    return ("".join(lines) + "\r\nhello\r\n").encode()


async def threads(store: Store, letters: list[bytes], *, at_once: bool = False) -> list[str]:
    principal = await new_account(store)
    mail = Mail(store, principal)
    prepared = [NewMessage(await mail.prepare(raw)) for raw in letters]
    if at_once:
        await asyncio.gather(*(mail.append("INBOX", [each]) for each in prepared))
    else:
        for each in prepared:
            await mail.append("INBOX", [each])
    rows = await store.database["messages"].find({"content": {"$exists": True}}).sort("uid", 1).to_list(None)
    by_content = {str(row["content"]): str(row.get("thread", "")) for row in rows}
    return [by_content[each.content.id] for each in prepared]


CHAIN = [letter("a"), letter("b", "Re: plans", "a", "a"), letter("c", "RE: [list] Plans", "ab", "b")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
async def test_a_chain_is_one_thread_in_any_order(store: Store, order: tuple[int, ...]) -> None:
    assert len(set(await threads(store, [CHAIN[number] for number in order]))) == 1


async def test_a_chain_that_comes_at_once_is_one_thread(store: Store) -> None:
    assert len(set(await threads(store, CHAIN, at_once=True))) == 1


@pytest.mark.parametrize(
    "letters",
    [
        pytest.param([("a", "", ""), ("b", "", "a"), ("c", "", "b"), ("d", "", "c")], id="in-reply-to-alone"),
        pytest.param([("a", "", ""), ("b", "a", ""), ("c", "ab", ""), ("d", "c", "")], id="references-were-shortened"),
        pytest.param([("b", "a", ""), ("c", "b", ""), ("d", "c", "")], id="first-lost"),
    ],
)
async def test_what_mailers_leave_out_is_remembered(store: Store, letters: list[tuple[str, str, str]]) -> None:
    made = [letter(number, "plans", references, answers) for number, references, answers in letters]
    assert len(set(await threads(store, made))) == 1


@pytest.mark.parametrize(
    "letters",
    [
        pytest.param([letter("a"), letter("b")], id="nothing-in-common-but-the-subject"),
        pytest.param([letter("a"), letter("b", "other things", "a", "a")], id="a-new-subject"),
        pytest.param([b"\r\n", b"\r\n"], id="nothing-at-all"),
    ],
)
async def test_others_stay_apart(store: Store, letters: list[bytes]) -> None:
    first, second = await threads(store, letters)
    assert first != second or not first


async def test_only_replies_ask_the_database(store: Store) -> None:
    await store.database.command("profile", 2)
    await threads(store, [letter("a"), letter("b")])
    await store.database.command("profile", 0)
    seen = {"ns": f"{store.database.name}.threads"}
    assert await store.database["system.profile"].count_documents(seen) == 0
    assert await store.database["threads"].count_documents({}) == 0


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        pytest.param("Re: Fwd: plans", "plans", id="chain"),
        pytest.param("RE[2]: AW:  Big   Plans ", "big plans", id="counted"),
        pytest.param("[list] Re: [x] plans", "plans", id="tags"),
        pytest.param("[only a tag]", "[only a tag]", id="tag"),
        pytest.param("Re:", "re:", id="nothing-else"),
        pytest.param("regarding: plans", "regarding: plans", id="a-word"),
        pytest.param("", "", id="empty"),
        pytest.param("[" * 10_000, "[" * 512, id="hostile"),
    ],
)
def test_base_subject(subject: str, expected: str) -> None:
    assert base_subject(subject) == expected
