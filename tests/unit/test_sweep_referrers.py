"""The sweep knows everybody who names a content, found by looking at all that the store has stored."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from bson.objectid import ObjectId

from duckmail.model.message import FlagChange, FlagOperation, NewMessage
from duckmail.model.queue import Origin, OutboundEnvelope, QueueRecipient
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage.queuedocuments import new_document
from storage.store import Store
from storage.sweep import DAY, REFERRERS, Sweep
from tests.support.referrers import referring_collections
from tests.support.stores import message, new_account, put


class Deaf:
    def view_changed(self, expunged: Sequence[int]) -> None:
        pass


async def use_everything(store: Store) -> None:
    """Leaves messages that are appended, delivered, copied, moved, expunged, and in a deleted mailbox."""
    principal = await new_account(store)
    await store.audits.create(principal.user, None, None, datetime.now(UTC) + DAY)
    mail = Mail(store, principal)
    for path in ("Copies", "Moved", "Deleted"):
        await mail.create(path)
        await put(mail, path, [1])
    uids = await put(mail, "INBOX", range(4))
    delivered = NewMessage(await mail.prepare(message(9)), prefix=b"X: y\r\n", delivery_key=b"key")
    await mail.append("INBOX", [delivered])
    view = await mail.open("INBOX", Deaf())
    await mail.copy(view, Ranges.of(uids[0]), "Copies")
    await mail.move(view, Ranges.of(uids[1]), "Moved")
    await mail.store_flags(view, Ranges.of(uids[2]), FlagChange(FlagOperation.ADD, ("\\Deleted",)))
    await mail.expunge(view)
    await mail.delete("Deleted")
    await store.housekeeping.archive_stubs()
    queued = await store.contents.prepare(message(10))
    named = [QueueRecipient("a@b.example")]
    document = new_document(
        user="", origin=Origin.API, envelope=OutboundEnvelope(""), recipients=named, content=queued.id, size=queued.size
    )
    await store.enqueue(document, queued)


async def test_every_collection_that_names_contents_is_a_referrer(store: Store) -> None:
    await use_everything(store)
    assert await referring_collections(store.database) == set(REFERRERS)


async def test_it_would_find_one_that_is_not(store: Store) -> None:
    await store.database["later"].insert_one({"recipients": [{"message": {"content": ObjectId()}}]})
    assert "later" in await referring_collections(store.database)


@pytest.mark.parametrize("referrer", REFERRERS)
async def test_every_referrer_has_an_index_to_look_in(store: Store, referrer: str) -> None:
    indexes = await store.database[referrer].index_information()
    assert any(index["key"][0] == ("content", 1) for index in indexes.values())


async def test_what_the_store_names_survives_the_sweep(store: Store) -> None:
    await use_everything(store)
    before = await store.database["contents"].count_documents({})
    assert before == 9
    for days in range(1, 4):
        await Sweep(store.database).run(datetime.now(UTC) + days * DAY)
    assert await store.database["contents"].count_documents({}) == before
