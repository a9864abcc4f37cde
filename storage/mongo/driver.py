"""Parts of PyMongo in whose place others are put, by `replace_parts`. They are private ones of the version in
`requirements.lock`; `tests/unit/test_mongo_driver.py` says when another one needs another look.

PyMongo's own way to wait for an answer is two tasks and a third one to send the question: five turns of a loop that has
much else to do in each (docs/adr/0013).
"""

import asyncio
import sys
import time
from collections.abc import Awaitable
from typing import TypeVar

import pymongo.lock
from pymongo import _csot
from pymongo.asynchronous import pool
from pymongo.common import MAX_MESSAGE_SIZE
from pymongo.errors import ProtocolError, _OperationCancelled
from pymongo.message import _UNPACK_REPLY, _OpMsg
from pymongo.network_layer import PyMongoProtocol

POLL_SECONDS = 0.5  # between two looks whether the operation was given up, as PyMongo has it

T = TypeVar("T")


def replace_parts() -> None:
    """For the whole process; more than once is no harm."""
    # To be ignored: the modules only import these names, and a checker takes them for nobody else's.
    pool.async_sendall = _send  # type: ignore[attr-defined]
    pool.async_receive_message = _receive  # type: ignore[attr-defined]
    if sys.version_info < (3, 12):
        pymongo.lock.wait_for = _wait_for  # type: ignore[attr-defined,assignment]


async def _send(conn: PyMongoProtocol, buf: bytes) -> None:
    """It only puts it into the buffer of the transport, so there is nothing to wait for."""
    await conn.write(buf)


async def _receive(
    conn: pool.AsyncConnection, request_id: int | None, max_message_size: int = MAX_MESSAGE_SIZE
) -> _OpMsg:
    """The next message. Raises: TimeoutError, OSError, ProtocolError, _OperationCancelled."""
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(_rest(conn.conn.gettimeout))
    watch: asyncio.TimerHandle

    def look() -> None:
        nonlocal watch
        if conn.cancel_context.cancelled:
            scope.reschedule(loop.time())
        else:
            watch = loop.call_later(POLL_SECONDS, look)

    watch = loop.call_later(POLL_SECONDS, look)
    try:
        async with scope:
            data, op_code = await conn.conn.get_conn.read(request_id, max_message_size)
    except TimeoutError:
        if conn.cancel_context.cancelled:
            raise _OperationCancelled("operation cancelled") from None
        raise TimeoutError("timed out") from None
    finally:
        watch.cancel()
    unpack = _UNPACK_REPLY.get(op_code)
    if unpack is None:
        raise ProtocolError(f"Got opcode {op_code!r}")
    return unpack(data)


def _rest(timeout: float | None) -> float | None:
    """Seconds that the answer may take: to the deadline of the operation, else of the connection."""
    if _csot.get_timeout():
        return max(_csot.get_deadline() - time.monotonic(), 0)
    return timeout or None


async def _wait_for(awaitable: Awaitable[T], timeout: float | None) -> T:
    """Before Python 3.12 `asyncio.wait_for` waits in a task of its own, and leaves it behind when it is cancelled just
    as the time runs out. PyMongo waits so for a server: the task that is left takes the lock of the topology and never
    gives it back. One client that hung up while MongoDB was away, and this process never talks to MongoDB again."""
    async with asyncio.timeout(timeout):
        return await awaitable
