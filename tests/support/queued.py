"""The queue of a running server, looked at in its database; what its reports say, as Python's `email` reads them."""

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import pymongo
from bson.objectid import ObjectId

from tests.support.server_process import Account, ServerProcess, wait_until

SECONDS = 60.0

Document = dict[str, Any]


class Queued:
    """`database`: the server's."""

    def __init__(self, server: ServerProcess, database: pymongo.database.Database[Document]) -> None:
        self._server = server
        self._queue = database["queue"]

    def message(self, identifier: str) -> Document:
        found = self._queue.find_one({"_id": ObjectId(identifier)})
        assert found is not None
        return found

    def fates(self, identifier: str) -> dict[str, tuple[str, str, int]]:
        """State, status and number of attempts by recipient, as they are now."""
        recipients = self.message(identifier)["recipients"]
        return {each["address"]: (each["state"], each.get("status", ""), each["attempts"]) for each in recipients}

    def ended(self, identifier: str, seconds: float = SECONDS) -> dict[str, tuple[str, str, int]]:
        """`fates` once the message is at its end."""
        wait_until(lambda: self.message(identifier).get("ended"), seconds, "the message to be at its end")
        return self.fates(identifier)

    def tried(self, identifier: str, seconds: float = SECONDS) -> None:
        """Returns when there was an attempt, whatever came of it."""

        def done() -> bool:
            found = self.message(identifier)
            return "lease" not in found and any(each["attempts"] for each in found["recipients"])

        wait_until(done, seconds, "an attempt")

    def all_ended(self, seconds: float = SECONDS) -> None:
        wait_until(lambda: not self._queue.count_documents({"ended": None}), seconds, "the queue to be empty")

    def told(self, account: Account, count: int = 1) -> "list[Report]":
        """All that its INBOX holds, which is `count` reports.

        To be asked for when the messages reported about are at their end: their reports are in the queue then.
        """
        found = list(self._queue.find({"origin": "report", "recipients.address": account.address}))
        assert len(found) == count, [self._server.messages(account), found]
        for each in found:
            fate = self.ended(str(each["_id"]))
            assert fate == {account.address: ("delivered", "2.1.5", 1)}
        stored = self._server.messages(account)
        assert len(stored) == count
        return [read_report(octets) for octets in stored]


@contextmanager
def queued(server: ServerProcess, mongo_uri: str, database: str) -> Iterator[Queued]:
    with pymongo.MongoClient[Document](mongo_uri) as client:
        yield Queued(server, client[database])


@dataclass(frozen=True)
class Report:
    """`fields`: those about the message; `recipients`: those of each recipient, by its address; names in lower case.

    `text`: what people read, blanks as one. `original`: what goes back of the message.
    """

    message: EmailMessage
    fields: dict[str, str]
    recipients: dict[str, dict[str, str]]
    text: str
    original: bytes

    @property
    def statuses(self) -> dict[str, tuple[str, str]]:
        """Action and status by address."""
        return {address: (one["action"], one["status"]) for address, one in self.recipients.items()}


def read_report(octets: bytes) -> Report:
    """RFC 3464 in RFC 6522: three parts, in their order."""
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert octets.startswith(b"Return-Path: <>\r\n")
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert not message.defects
    parts: Any = message.get_payload()
    explanation, status, returned = parts
    assert explanation.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    first, *others = status.get_payload()
    recipients = {}
    for one in others:
        fields = {name.lower(): str(value) for name, value in one.items()}
        kind, _, address = fields["final-recipient"].partition("; ")
        assert kind == "rfc822"
        recipients[address] = fields
    assert len(recipients) == len(others)
    behind = octets.partition(f"Content-Type: {returned.get_content_type()}".encode())[2]
    return Report(
        message,
        {name.lower(): str(value) for name, value in first.items()},
        recipients,
        " ".join(explanation.get_content().split()),
        behind.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0],
    )
