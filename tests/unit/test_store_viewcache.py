"""The views of a process stay within their budget, and who waits for one waits within limits."""

import asyncio
import random
from array import array
from dataclasses import replace
from typing import ClassVar

import pytest
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import NotFound, Unavailable
from duckmail.model.account import Principal
from duckmail.model.mailbox import Mailbox
from duckmail.services.mail import Mail
from storage import viewcache, views
from storage.store import Store
from storage.viewcache import Key, ViewCache
from storage.views import Rows, View
from tests.support.stores import Ears, put


async def test_what_nobody_uses_goes_least_recently_used_first(
    store: Store, principal: Principal, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"box{number}" for number in range(6)]
    boxes = {path: await mail.create(path) for path in paths}
    held = await mail.open("box0", Ears())
    monkeypatch.setattr(viewcache, "UNUSED_OCTETS", 3 * 1024)  # three empty views

    def loaded() -> list[str]:
        return [path for path, box in boxes.items() if store.views.peek(principal.user, box.id)]

    for path in paths[1:]:
        ears = Ears()
        mail.close_view(await mail.open(path, ears), ears)
    assert loaded() == ["box0", "box3", "box4", "box5"]
    ears = Ears()
    mail.close_view(await mail.open("box3", ears), ears)
    mail.close_view(await mail.open("box1", ears), ears)
    assert loaded() == ["box0", "box1", "box3", "box5"]
    await put(mail, "box0", [1])
    assert list(held.uids) == [1], "one in use never goes"


async def test_one_that_is_being_opened_stays(
    store: Store, principal: Principal, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evicted between loading and use it would be a second view of its mailbox, which hears of nothing."""
    monkeypatch.setattr(viewcache, "UNUSED_OCTETS", 0)
    boxes = [await mail.create(f"box{number}") for number in range(4)]
    ears = [Ears() for _ in range(40)]
    opened = await asyncio.gather(
        *(store.views.open(principal.user, boxes[number % 4].id, one) for number, one in enumerate(ears))
    )
    for number, view in enumerate(opened):
        assert view is opened[number % 4]
        assert view is store.views.peek(principal.user, boxes[number % 4].id)
    for view, one in zip(opened, ears, strict=True):
        store.views.release(view, one)
    assert not store.views._entries
    assert not store.views._unused


async def test_what_is_counted_is_what_is_there(
    store: Store, principal: Principal, mail: Mail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unused views grow with what is delivered, are opened, deleted and given up; the count follows."""
    monkeypatch.setattr(viewcache, "UNUSED_OCTETS", 5 * 1100)
    chance = random.Random(7)
    paths = {f"box{number}" for number in range(9)}
    for path in sorted(paths):
        await mail.create(path)
    held: list[tuple[View, Ears]] = []
    for step in range(150):
        path = chance.choice(sorted(paths))
        match chance.randrange(4):
            case 0:
                await put(mail, path, [step])
            case 1 if held:
                mail.close_view(*held.pop(chance.randrange(len(held))))
            case 2 if step % 30 == 0:
                paths.discard(path)
                await mail.delete(path)
            case _:
                ears = Ears()
                held.append((await mail.open(path, ears), ears))
        cache = store.views
        assert cache._unused_octets == sum(entry.octets for entry in cache._unused.values()) <= 5 * 1100
        for entry in cache._unused.values():
            assert entry.view is not None
            assert entry.octets == entry.view.octets + viewcache.VIEW_OCTETS
            assert not entry.view.in_use
        assert all(entry.view is not None and entry.view.in_use for entry in cache._entries.values())


class Deaf(ViewCache):
    """MongoDB does not answer: each look ends after a while."""

    looks: ClassVar[list[Key]] = []

    async def _mailbox(self, key: Key, session: AsyncClientSession):  # noqa: ANN202
        self.looks.append(key)
        await asyncio.sleep(0.1)
        raise Unavailable


async def test_those_who_wait_share_a_failure(store: Store, principal: Principal, mail: Mail) -> None:
    """One look after another for each of them would be a hundred."""
    view = await mail.open("INBOX", Ears())
    other = await mail.create("Other")
    store.views.__class__ = Deaf
    failures = await asyncio.gather(
        *(store.views.open(principal.user, other.id, Ears()) for _ in range(50)),
        *(mail.sync(view) for _ in range(50)),
        return_exceptions=True,
    )
    assert {type(failure) for failure in failures} == {Unavailable}
    assert len(Deaf.looks) <= 4
    store.views.__class__ = ViewCache
    await mail.sync(view)
    assert (await mail.open("Other", Ears())).mailbox.id == other.id


async def test_the_one_who_looks_for_all_may_hang_up(store: Store, principal: Principal, mail: Mail) -> None:
    view = await mail.open("INBOX", Ears())
    tasks = [asyncio.get_running_loop().create_task(mail.sync(view)) for _ in range(5)]
    await asyncio.sleep(0)
    for task in tasks[:3]:
        task.cancel()
    await asyncio.gather(*tasks[3:])


async def test_a_deleted_mailbox_is_gone_for_all_who_wait(store: Store, principal: Principal, mail: Mail) -> None:
    box = await mail.create("Box")
    view = await mail.open("Box", Ears())
    await store.mailboxes.bury(principal.user, "Box")
    waiting = [mail.sync(view) for _ in range(5)]
    opening = [store.views.open(principal.user, box.id, Ears()) for _ in range(5)]
    outcomes = await asyncio.gather(*waiting, *opening, return_exceptions=True)
    assert outcomes[:5] == [None] * 5
    assert {type(outcome) for outcome in outcomes[5:]} == {NotFound}
    assert view.gone
    assert not store.views._entries
    assert not store.views._unused


def test_changes_are_remembered_within_limits() -> None:
    """However much each sync brings; what is forgotten is found in the arrays."""
    count = 5_000
    mailbox = Mailbox(id="b" * 24, user="a" * 24, path="INBOX", uidvalidity=1, uidnext=count + 1, modseq=1)
    uids = array("I", range(1, count + 1))
    view = View(mailbox, Rows(uids[:], array("q", [0] * count), array("q", [1] * count)))
    for modseq in range(2, 1_000):
        touched = uids if modseq % 100 == 0 else uids[modseq : modseq + 1]
        rows = Rows(touched[:], array("q", [modseq]) * len(touched), array("q", [modseq]) * len(touched))
        view.catch_up(replace(mailbox, modseq=modseq), rows, ())
        assert sum(len(remembered) for _, remembered in view._changes) == view._remembered <= views.UIDS_REMEMBERED
        assert len(view._changes) <= views.CHANGES_REMEMBERED
    for since in range(1, 1_000, 7):
        assert view.changed_since(since) == [uid for uid, at in zip(uids, view.modseqs, strict=True) if at > since]
