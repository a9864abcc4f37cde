"""The parts of PyMongo that others stand in for: they wait as the real ones do, and give up as they do."""

import asyncio
import hashlib
import inspect
from collections.abc import Callable

import pymongo
import pytest
from pymongo import network_layer
from pymongo.asynchronous import command_runner, pool
from pymongo.errors import AutoReconnect, ConnectionFailure, NetworkTimeout

from duckmail.runtime.tasks import Tasks
from storage.mongo.client import Client, Document
from tests.support.proxy import Loss, Proxy


async def _ping(client: Client) -> Document:
    return await client.admin.command("ping")


_WAITING = (network_layer.async_sendall, network_layer.async_receive_message, network_layer.PyMongoProtocol.write)
_COMMANDS = (command_runner.run_command, command_runner._run_command, pool.AsyncConnection.command)


@pytest.mark.parametrize(
    ("parts", "known"),
    [
        pytest.param(
            _WAITING, "e296297e8c58c96a679f3e58f7856a8f1aed0cf742d501742bac058a187a9d33", id="storage.mongo.driver"
        ),
        pytest.param(
            _COMMANDS, "154922e6f27f134d736abc6d2dfde2805e52a8616d3b463a18d32348d8752e95", id="storage.mongo.pipeline"
        ),
    ],
)
def test_what_is_known_of_the_driver(parts: tuple[Callable[..., object], ...], known: str) -> None:
    """Another PyMongo: read what has changed, see whether ours is still needed, and write its sum here."""
    text = "".join(inspect.getsource(each) for each in parts)
    assert hashlib.sha256(text.encode()).hexdigest() == known


def test_they_stand_in() -> None:
    assert all(vars(pool)[each.__name__] is not each for each in _WAITING[:2])


async def test_a_command_needs_no_task(client: Client, wire: Proxy, tasks: Tasks) -> None:
    wire.moving.clear()
    asking = tasks.start(_ping(client), "ping")
    before = len(asyncio.all_tasks())
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before
    wire.moving.set()
    assert (await asking)["ok"] == 1


async def test_time_runs_out(client: Client, wire: Proxy) -> None:
    """Of the operation, not of the connection; the next one has a connection that knows nothing of it."""
    wire.moving.clear()
    with pytest.raises(NetworkTimeout), pymongo.timeout(0.3):
        await client.admin.command("ping")
    wire.moving.set()
    assert (await client.admin.command("count", "none"))["n"] == 0


async def test_time_of_the_connection_runs_out(wire: Proxy) -> None:
    opened: Client = pymongo.AsyncMongoClient(wire.uri, socketTimeoutMS=300, retryReads=False)
    try:
        await opened.admin.command("ping")
        wire.moving.clear()
        with pytest.raises(NetworkTimeout):
            await opened.admin.command("ping")
    finally:
        wire.moving.set()
        await opened.close()


async def test_who_asks_is_cancelled(client: Client, wire: Proxy, tasks: Tasks) -> None:
    wire.moving.clear()
    asking = tasks.start(_ping(client), "ping")
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    wire.moving.set()
    assert (await client.admin.command("count", "none"))["n"] == 0


async def test_the_connection_is_given_up(client: Client, wire: Proxy, tasks: Tasks) -> None:
    """As the driver does with all of a server whose monitor does not hear from it."""
    wire.moving.clear()
    asking = tasks.start(_ping(client), "ping")
    (server,) = client._topology._servers.values()
    async with asyncio.timeout(60):
        while not (busy := server.pool.active_contexts):
            await asyncio.sleep(0.01)
        for context in list(busy):
            context.cancel()
        with pytest.raises(ConnectionFailure):
            await asking


async def test_the_connection_is_lost(client: Client, wire: Proxy) -> None:
    wire.lose("ping", Loss.ANSWER)
    with pytest.raises(AutoReconnect):
        await client.admin.command("ping")
    assert (await client.admin.command("ping"))["ok"] == 1
