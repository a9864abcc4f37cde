"""The wire to MongoDB breaks under the queue: a message is taken once, a result and its report are written once."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from duckmail.mime.dsn import Action
from duckmail.model.queue import State
from tests.support.outbound import Outbound, World, outbound
from tests.support.proxy import Loss, Proxy

LOSSES = pytest.mark.parametrize("loss", list(Loss), ids=lambda loss: loss.name.lower())


@pytest.fixture
async def idle(wire: Proxy, database_name: str) -> AsyncIterator[Outbound]:
    async with outbound(wire.uri, database_name, World(), start=False) as one:
        yield one
        wire.lose_nothing_more()


@pytest.mark.parametrize("command", ["insert", "commitTransaction"])
@LOSSES
async def test_a_message_is_taken_once(idle: Outbound, wire: Proxy, command: str, loss: Loss) -> None:
    await idle.submit("c@far.test")
    wire.lose(command, loss)
    identifier = await idle.submit("c@far.test")
    assert len(wire.lost) == 1
    assert (await idle.queue.get(identifier)).content
    assert await idle.store.database["queue"].count_documents({}) == 2
    assert await idle.store.database["contents"].count_documents({}) == 2


@pytest.mark.parametrize("command", ["update", "insert", "commitTransaction"])
@LOSSES
async def test_a_result_and_its_report_are_written_once(idle: Outbound, wire: Proxy, command: str, loss: Loss) -> None:
    identifier = await idle.submit("c@far.test")
    (claim,) = await idle.store.queue.claim("test", 1)
    (recipient,) = claim.message.recipients
    failed = replace(recipient, state=State.FAILED, due=None, reply="550 no", status="5.0.0")
    reports = idle.queue._reports
    report = await reports.make(claim.message, Action.FAILED, [failed], claim.message.created)
    assert report is not None
    wire.lose(command, loss)
    await idle.store.queue.finish(claim, [failed], [0], [report])
    assert len(wire.lost) == 1
    assert await idle.ended(identifier) == [State.FAILED]
    assert await idle.store.database["queue"].count_documents({}) == 2


@LOSSES
async def test_a_claim_that_nobody_heard_of_ends_by_itself(
    idle: Outbound, wire: Proxy, loss: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update of many cannot be repeated by the driver."""
    monkeypatch.setattr("storage.queue._LEASE_END", {"$add": ["$$NOW", 200]})
    world = idle.world
    identifier = await idle.submit("c@far.test")
    wire.lose("update", loss)
    idle.runner.start()
    assert await idle.ended(identifier) == [State.RELAYED]
    assert len(world.taken) == 1
