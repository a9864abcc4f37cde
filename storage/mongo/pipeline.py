"""Several commands in one write on one connection of PyMongo, which itself sends one and waits (docs/adr/0015).

MongoDB reads the next command from a connection when it has answered the one before it, so the order is kept and each
has its reply. What is used here are private parts of PyMongo, those that its own `AsyncDatabase.command` is made of;
`tests/faults/test_mongo_driver.py` says when another version needs another look.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pymongo import helpers_shared
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.pool import AsyncConnection
from pymongo.client_session_shared import _TxnState
from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.message import _op_msg
from pymongo.read_preferences import ReadPreference
from pymongo.server_selectors import writable_server_selector

from storage.mongo.client import Client, Database, Document


class Unmatched(Exception):
    """An update found fewer documents than it has to."""


@dataclass(frozen=True, slots=True)
class Command:
    """A write command. `session`: whose transaction it is part of; None: it stands beside any transaction.

    `required`: documents that it has to find. `allowed`: a code of write errors that are none.
    """

    body: Document
    session: AsyncClientSession | None = None
    required: int = 0
    allowed: int | None = None

    def check(self, reply: Document) -> None:
        """Raises: BulkWriteError, Unmatched."""
        errors = reply.get("writeErrors", ())
        if any(error["code"] != self.allowed for error in errors) or "writeConcernError" in reply:
            concern = [reply["writeConcernError"]] if "writeConcernError" in reply else []
            raise BulkWriteError({"writeErrors": list(errors), "writeConcernErrors": concern, "nInserted": 0})
        if self.required and reply["n"] < self.required:
            raise Unmatched


async def commit(client: Client, session: AsyncClientSession, concern: Document) -> bool:
    """Asks for the commit once, as `session.commit_transaction` does at three times the processor time. False: it is to
    be asked for by that, which may be done however this ended and knows what to say of it."""
    transaction = session._transaction
    if transaction.state is not _TxnState.IN_PROGRESS or transaction.recovery_token is not None:
        return False
    try:
        await run(client.admin, [Command({"commitTransaction": 1, "writeConcern": concern}, session)])
    except PyMongoError:
        return False
    transaction.state = _TxnState.COMMITTED
    return True


async def run(database: Database, commands: Sequence[Command]) -> None:
    """Carries them out in their order, which are of one session at most. Behind one that fails those of its transaction
    fail too; the others are carried out all the same.

    Raises: PyMongoError, Unmatched: of the first that failed.
    """
    if not commands:
        return
    client = database.client
    session = next((command.session for command in commands if command.session is not None), None)
    server = await client._select_server(writable_server_selector, session, "write")
    async with client._checkout(server, session) as conn:
        encoded = [_encoded(database, conn, command) for command in commands]
        await conn.send_message(b"".join(octets for _, octets, _ in encoded), max(size for _, _, size in encoded))
        messages = [await conn.receive_message(number) for number, _, _ in encoded]
        replies = [message.unpack_response(codec_options=database.codec_options)[0] for message in messages]
        for command, reply in zip(commands, replies, strict=True):
            await client._process_response(reply, command.session)
        for command, reply in zip(commands, replies, strict=True):
            helpers_shared._check_command_response(reply, conn.max_wire_version)
            command.check(reply)


def _encoded(database: Database, conn: AsyncConnection, command: Command) -> tuple[int, bytes, int]:
    """Number, octets and the size of the largest document; the time that is left for it is in it."""
    body, session = dict(command.body), command.session
    conn.add_server_api(body)
    if session is not None:
        session._apply_to(body, False, ReadPreference.PRIMARY, conn)
        if session._starting_transaction:
            session._transaction.set_in_progress()
    conn.send_cluster_time(body, session, database.client)
    conn.apply_timeout(body)
    number, octets, _, largest = _op_msg(
        0, body, database.name, ReadPreference.PRIMARY, database.codec_options, ctx=conn.compression_context
    )
    return number, octets, largest
