"""What is not taken is told too: at which step, why, and no more of it than there is room for."""

from collections.abc import AsyncIterator

import pytest

from duckmail.model.trace import Step, TraceEntry, Wanted
from duckmail.services.access import SYSTEM
from duckmail.services.allowance import Allowance, LeftOut
from duckmail.services.reception.gate import GatePolicy
from duckmail.services.tracing import Tracing
from storage.store import Store
from tests.support.mx import CLIENT, HOSTNAME, STRANGER, MxHouse, message, shared_mx

DAYS = 30 * 86400.0
HOUR = 3600.0
LOOK = 1000


@pytest.fixture(scope="module")
async def house(mongo_uri: str) -> AsyncIterator[MxHouse]:
    async with shared_mx(mongo_uri) as opened:
        yield opened


@pytest.fixture
async def tracing(house: MxHouse) -> Tracing:
    """Of which nothing is known yet."""
    store = house.house.store
    await store.database["tracepages"].delete_many({})
    return Tracing(store.traces, store.mailboxes, DAYS)


async def found(tracing: Tracing, wanted: Wanted) -> list[TraceEntry]:
    await tracing.flush()
    return list((await tracing.find(wanted, LOOK, SYSTEM)).entries)


async def written(store: Store) -> int:
    """Of all steps that were written."""
    return sum([len(page["entries"]) async for page in store.database["tracepages"].find({})])


REFUSALS = [
    pytest.param(STRANGER, ["EHLO mx.example"], {"gate": GatePolicy(helo="syntax", hostname=HOSTNAME)},
                 ("name", "name", "", ""), id="name"),
    pytest.param(CLIENT, ["EHLO c.example", "MAIL FROM:<a@good.example>", "RSET", "MAIL FROM:<a@good.example>"],
                 {"gate": GatePolicy(1, hostname=HOSTNAME)}, ("sender", "rate", "a@good.example", ""), id="rate"),
    pytest.param(CLIENT, ["EHLO c.example", "MAIL FROM:<a@good.example> SIZE=2000000"],
                 {}, ("message", "unread", "a@good.example", ""), id="size"),
    pytest.param(CLIENT, ["EHLO c.example", "MAIL FROM:<a@good.example>", "RCPT TO:<x@far.example>"],
                 {}, ("recipient", "relay", "a@good.example", "x@far.example"), id="relay"),
    pytest.param(CLIENT, ["EHLO c.example", "MAIL FROM:<a@good.example>", "RCPT TO:<nobody@example.com>"],
                 {}, ("recipient", "unknown", "a@good.example", "nobody@example.com"), id="unknown"),
    pytest.param(CLIENT, ["EHLO c.example", "MAIL FROM:<a@good.example>", "RCPT TO:<anna@example.com>"],
                 {"greylist": 300.0}, ("recipient", "greylisted", "a@good.example", "anna@example.com"), id="grey"),
    pytest.param(STRANGER, ["EHLO c.example", "MAIL FROM:<>", "RCPT TO:<anna@example.com>"],
                 {"blocklists": ["bl.example"]}, ("recipient", "listed", "<>", "anna@example.com"), id="listed"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "lines", "options", "expected"), REFUSALS)
async def test_refusals_in_the_dialogue(
    house: MxHouse,
    tracing: Tracing,
    host: str,
    lines: list[str],
    options: dict[str, object],
    expected: tuple[str, str, str, str],
) -> None:
    server = house.server(house.reception(tracing=tracing, **options))  # type: ignore[arg-type]
    async with house.session(server, host=host) as client:
        await client.replies("220 ")
        said = [await client.ask(line) for line in lines]
    assert [each[0] in "45" for each in said] == [False] * (len(lines) - 1) + [True]
    (entry,) = await found(tracing, Wanted(client=host))
    about = entry.about
    stage, reason, sender, recipient = expected
    assert (entry.step, about["stage"], about["reason"]) == (Step.REFUSED, stage, reason)
    assert (about.get("sender", ""), about.get("recipient", "")) == (sender, recipient)
    assert str(about["error"]) in said[-1]
    assert (about["from"], about["helo"]) == (host, lines[0].removeprefix("EHLO "))
    anna = house.house.principal("anna").user
    assert entry.user == (anna if reason == "greylisted" else "")
    assert await found(tracing, Wanted(session=str(about["connection"]))) == [entry]
    for address in {sender, recipient} - {"", "<>"}:
        assert await found(tracing, Wanted(address=address)) == [entry]


@pytest.mark.parametrize("name", ["Message-ID: <bare@good.example>\r\n", ""], ids=["named", "nameless"])
async def test_a_message_that_is_thrown_away(house: MxHouse, tracing: Tracing, name: str) -> None:
    """It had a bare line feed: nothing of it is looked at, so it has no name."""
    raw = f"From: a@good.example\r\n{name}\r\nbare\nline\r\n".encode()
    said = await house.send(
        raw, "anna@example.com", "bert@example.com", server=house.server(house.reception(tracing=tracing))
    )
    entries = await found(tracing, Wanted(address="a@good.example"))
    assert [entry.about["recipient"] for entry in entries] == ["anna@example.com", "bert@example.com"]
    assert {(entry.about["reason"], entry.about["error"]) for entry in entries} == {("unread", said[11:])}
    assert [entry.user for entry in entries] == [house.house.principal(name).user for name in ("anna", "bert")]


async def test_a_message_refused_by_policy_keeps_its_name(house: MxHouse, tracing: Tracing) -> None:
    raw = message("refused by policy", "a@good.example")
    server = house.server(house.reception(tracing=tracing))
    assert (await house.send(raw, server=server, host=STRANGER)).startswith("550 5.7.1")
    (entry,) = await found(tracing, Wanted(client=STRANGER))
    assert (entry.about["stage"], entry.about["reason"]) == ("message", "dmarc")
    assert entry.message_id


async def test_a_flood_of_refusals_is_counted(house: MxHouse) -> None:
    """Each network has its share, all have theirs; what is beyond is one step for each network, once it is over."""
    store, now = house.house.store, [1000.0]
    await store.database["tracepages"].delete_many({})
    tracing = Tracing(store.traces, store.mailboxes, DAYS, Allowance(3, 5, HOUR, lambda: now[0]))
    server = house.server(house.reception(tracing=tracing), max_errors=1000)
    for host, number in (("192.0.2.1", 8), ("192.0.2.9", 2), ("198.51.100.1", 4), ("203.0.113.1", 3)):
        async with house.session(server, host=host) as client:
            await client.replies("220 ")
            await client.ask("EHLO c.example")
            await client.ask("MAIL FROM:<a@good.example>")
            for _ in range(number):
                assert (await client.ask("RCPT TO:<nobody@example.com>")).startswith("550")
    assert len(await found(tracing, Wanted(address="nobody@example.com"))) == 5
    tracing.note_counted()
    await tracing.flush()
    assert await written(store) == 5
    now[0] += HOUR
    tracing.note_counted()
    counted = [entry.about for entry in await found(tracing, Wanted(client="192.0.2.77"))]
    assert counted == [{"from": "192.0.2.0/24", "notNoted": {"unknown": 7}, "seconds": 3600}]
    assert await written(store) == 5 + 3
    assert [entry.about["notNoted"] for entry in await found(tracing, Wanted(client="others"))] == [{"unknown": 3}]


def test_an_allowance_begins_again() -> None:
    now = [0.0]
    allowance = Allowance(1, 2, HOUR, lambda: now[0])
    assert [allowance.take("a", "x"), allowance.take("a", "x"), allowance.take("b", "y")] == [True, False, True]
    assert [allowance.take(str(number), "z") for number in range(10_000)] == [False] * 10_000
    assert allowance.ended() == []
    now[0] += HOUR
    assert allowance.ended() == [LeftOut("a", {"x": 1}, HOUR), LeftOut("", {"z": 10_000}, HOUR)]
    assert (allowance.ended(early=True), allowance.take("a", "x")) == ([], True)


@pytest.mark.parametrize(("each", "most"), [(0, 10), (10, 0)])
def test_no_allowance(each: int, most: int) -> None:
    assert not Allowance(each, most, HOUR).take("a", "x")
