"""The story of messages: nothing waits for it, it has its bounds, and it ends."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from duckmail.errors import NotPermitted, Unavailable
from duckmail.model.account import Principal
from duckmail.model.trace import LONGEST_ID, Step, TraceEntry, normal_id
from duckmail.runtime import metrics
from duckmail.services import tracing
from duckmail.services.access import SYSTEM
from duckmail.services.tracing import LONGEST, LONGEST_LIST, Tracing
from storage.store import Store
from tests.support.stores import open_store

DAYS = 30 * 86400.0
ANNA, BERT = "a" * 24, "b" * 24
LOOK = 100


class Away:
    """A database that does not answer."""

    async def add(self, entries: Sequence[TraceEntry], kept: timedelta) -> None:
        raise Unavailable

    async def find(self, message_id: str, limit: int, user: str = "") -> list[TraceEntry]:
        raise Unavailable


@pytest.fixture
async def store(mongo_uri: str, database_name: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri, database_name) as opened:
        yield opened


def dropped() -> float:
    return float(metrics.TRACES["dropped"]._value.get())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("<a@b>", "a@b", id="brackets"),
        pytest.param("  <a@b>\t", "a@b", id="white space"),
        pytest.param("a@b", "a@b", id="bare"),
        pytest.param("<" + "x" * 2000 + ">", "x" * LONGEST_ID, id="long"),
        pytest.param("<\udcff@b>", "?@b", id="no character"),
        pytest.param("<>", "", id="empty"),
    ],
)
def test_names(given: str, kept: str) -> None:
    assert normal_id(given) == kept


async def test_who_sees_what(store: Store) -> None:
    told = Tracing(store.traces, store.mailboxes, DAYS)
    told.note(Step.DELIVERY, "<a@b>", ANNA, {"recipient": "anna", "error": "", "spam": None})
    told.note(Step.DELIVERY, "<a@b>", BERT, {"recipient": "bert"})
    told.note(Step.ATTEMPT, "a@b", "", {"queue": "1"})
    told.note(Step.ATTEMPT, "", ANNA, {"queue": "2"})
    await told.flush()
    assert [entry.user for entry in (await told.find("a@b", LOOK, SYSTEM)).entries] == [ANNA, BERT, ""]
    (mine,) = (await told.find("<a@b>", LOOK, Principal(ANNA, "anna", "user"))).entries
    assert mine.about == {"recipient": "anna"}, "what is empty is left out"
    first = await told.find("a@b", 2, SYSTEM)
    assert (len(first.entries), first.more) == (2, True)
    assert (await told.find("<>", LOOK, SYSTEM)).entries == []
    with pytest.raises(NotPermitted):
        await told.find("a@b", LOOK, Principal("", "", "user"))


async def test_it_ends(store: Store) -> None:
    """By an index of the database, `keep` after it happened."""
    told = Tracing(store.traces, store.mailboxes, DAYS)
    told.note(Step.DELIVERY, "a@b", ANNA, {})
    await told.flush()
    [document] = await store.database["traces"].find({}).to_list(None)
    assert document["expires"] - document["at"] == timedelta(days=30)
    indexes = await store.database["traces"].index_information()
    assert [each["key"] for each in indexes.values() if each.get("expireAfterSeconds") == 0] == [[("expires", 1)]]
    assert datetime.now(UTC) - document["at"] < timedelta(hours=1)


async def test_nothing_is_kept_for_no_time(store: Store) -> None:
    told = Tracing(store.traces, store.mailboxes, 0)
    told.note(Step.DELIVERY, "a@b", ANNA, {})
    await told.flush()
    assert await store.database["traces"].count_documents({}) == 0


async def test_texts_and_lists_are_cut(store: Store) -> None:
    told = Tracing(store.traces, store.mailboxes, DAYS)
    about = {"reply": "é" * 5000, "recipients": [{"reply": "\udcff" * 5000}] * 5000}
    told.note(Step.ATTEMPT, "a@b", ANNA, about)
    await told.flush()
    (entry,) = (await told.find("a@b", LOOK, SYSTEM)).entries
    recipients = entry.about["recipients"]
    assert entry.about["reply"] == "é" * LONGEST
    assert isinstance(recipients, list)
    assert (len(recipients), recipients[0]) == (LONGEST_LIST, {"reply": "?" * LONGEST})


async def test_the_buffer_has_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "MOST", 7)
    monkeypatch.setattr(tracing, "BATCH", 3)
    told = Tracing(store.traces, store.mailboxes, DAYS)
    before = dropped()
    for number in range(9):
        told.note(Step.DELIVERY, "a@b", ANNA, {"uid": number})
    assert dropped() - before == 2
    await told.flush()
    found = (await told.find("a@b", LOOK, SYSTEM)).entries
    assert [entry.about["uid"] for entry in found] == list(range(7))


async def test_a_database_that_is_away_costs_the_entries_and_nothing_else(store: Store) -> None:
    told = Tracing(Away(), store.mailboxes, DAYS)
    before = dropped()
    told.note(Step.DELIVERY, "a@b", ANNA, {})
    await told.flush()
    assert dropped() - before == 1
    await told.close()


@pytest.mark.parametrize("query", [{"msgid": "a@b"}, {"msgid": "a@b", "user": None}], ids=["all", "own"])
async def test_queries_use_their_indexes(store: Store, query: dict[str, object]) -> None:
    plan = await store.database["traces"].find(query).sort("_id", 1).explain()
    text = str(plan["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in text
    assert "COLLSCAN" not in text
    assert "'SORT'" not in text
