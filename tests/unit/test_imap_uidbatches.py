"""UIDBATCHES (RFC 10022): which UIDs a batch is of, and when the same may be asked again."""

from array import array

import pytest

from duckmail.model.mailbox import Mailbox
from protocols.imap.commands.uidbatches import _again, _ranges
from protocols.imap.selected import Batches, Selected
from storage.views import Delta, Rows, View


def selected(*uids: int) -> Selected:
    mailbox = Mailbox("m", "u", "INBOX", 1, (uids[-1] if uids else 0) + 10, 1)
    rows = Rows(array("I", uids), array("q", [0] * len(uids)), array("q", [1] * len(uids)))
    found = Selected(View(mailbox, rows), read_only=False, recent_from=1)
    found.view.attach(found)
    return found


@pytest.mark.parametrize(
    ("size", "first", "last", "ranges"),
    [
        pytest.param(2, 1, 4, b"70:60,59:40,39:20,19:1", id="all"),
        pytest.param(2, 2, 3, b"59:40,39:20", id="from-the-middle"),
        pytest.param(2, 3, 9, b"39:20,19:1", id="beyond-the-last"),
        pytest.param(2, 5, 9, b"", id="none-there"),
        pytest.param(7, 1, 1, b"70:1", id="exactly-one"),
        pytest.param(8, 1, 1, b"70:1", id="fewer-than-a-batch"),
    ],
)
def test_ranges(size: int, first: int, last: int, ranges: bytes) -> None:
    assert b",".join(_ranges(selected(10, 20, 30, 40, 50, 60, 70), 7, size, first, last)) == ranges


def test_an_empty_mailbox_has_none() -> None:
    assert not list(_ranges(selected(), 0, 500, 1, 5))


def test_again_after_half_a_batch() -> None:
    mailbox = selected(*range(1, 21))
    asked = Batches(4, 1, 0)
    assert not _again(mailbox, asked, 20)
    assert _again(mailbox, asked, 20)
    assert not _again(mailbox, Batches(4, 1, 2), 20)
    view = mailbox.view
    view.apply(Delta(Mailbox("m", "u", "INBOX", 1, 30, 2), expunged=[1, 2]))
    assert _again(mailbox, asked, 18)
    view.apply(Delta(Mailbox("m", "u", "INBOX", 1, 30, 3), expunged=[3]))
    assert not _again(mailbox, asked, 17)
    added = [(uid, 0) for uid in (30, 31, 32)]
    view.apply(Delta(Mailbox("m", "u", "INBOX", 1, 33, 4), added=added))
    assert not _again(mailbox, asked, 20)
