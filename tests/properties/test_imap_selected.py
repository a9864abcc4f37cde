"""`Selected` against a client that keeps a plain list, as IMAP clients do, and a plain truth of the mailbox."""

from array import array
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from duckmail.model.mailbox import Mailbox
from duckmail.model.ranges import Ranges
from protocols.imap.selected import Exists, Expunge, FlagUpdate, Keywords, RecentCount, Selected, UnknownNumber
from protocols.imap.wire.sequence import SequenceSet
from storage.views import Delta, Rows, View


def mailbox(uidnext: int, modseq: int = 1, keywords: tuple[str, ...] = ()) -> Mailbox:
    return Mailbox("m", "u", "INBOX", 1, uidnext, modseq, keywords=keywords)


class Client(RuleBasedStateMachine):
    """`known`: what the client believes, UID and flags by number. `mail`: what is so."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: dict[int, int] = {2: 0, 3: 0, 7: 0}
        self.box = mailbox(8)
        rows = Rows(array("I", [2, 3, 7]), array("q", [0, 0, 0]), array("q", [1, 1, 1]))
        self.view = View(self.box, rows)
        self.selected = Selected(self.view, read_only=False, recent_from=7)
        self.view.attach(self.selected)
        self.known: list[tuple[int, int]] = [(2, 0), (3, 0), (7, 0)]
        self.keywords = 0
        self.told: set[int] = set()

    def commit(self, **delta: object) -> None:
        self.box = replace(self.box, modseq=self.box.modseq + 1)
        assert self.view.apply(Delta(self.box, **delta))  # type: ignore[arg-type]

    @rule(count=st.integers(1, 4), gap=st.integers(0, 3), flags=st.sampled_from([0, 8]))
    def arrive(self, count: int, gap: int, flags: int) -> None:
        first = self.box.uidnext + gap
        added = [(uid, flags) for uid in range(first, first + count)]
        self.mail.update(added)
        self.box = replace(self.box, uidnext=first + count)
        self.commit(added=added)

    @precondition(lambda self: self.mail)
    @rule(data=st.data())
    def expunge(self, data: st.DataObject) -> None:
        gone = sorted(data.draw(st.sets(st.sampled_from(sorted(self.mail)), min_size=1)))
        for uid in gone:
            del self.mail[uid]
        self.commit(expunged=gone)

    @precondition(lambda self: self.mail)
    @rule(data=st.data(), flags=st.sampled_from([0, 4, 8, 32]))
    def store(self, data: st.DataObject, flags: int) -> None:
        uids = sorted(data.draw(st.sets(st.sampled_from(sorted(self.mail)), min_size=1)))
        if flags == 32 and not self.box.keywords:
            self.box = replace(self.box, keywords=("$Label",))
        self.mail.update(dict.fromkeys(uids, flags))
        self.told.difference_update(uids)
        self.commit(changed=[(uid, flags) for uid in uids])

    @precondition(lambda self: self.mail)
    @rule(data=st.data())
    def told_by_the_command(self, data: st.DataObject) -> None:
        """FETCH FLAGS or STORE in this session: the client learns the flags by the way."""
        uid = data.draw(st.sampled_from(sorted(self.mail)))
        if self.selected.announced(uid):
            number = self.selected.number(uid)
            assert self.known[number - 1][0] == uid
            self.known[number - 1] = (uid, self.mail[uid])
            position = self.view.position(uid)
            self.told.add(uid)
            self.selected.told(uid, self.view.modseqs[position])

    @rule(expunge=st.booleans())
    def update(self, expunge: bool) -> None:
        """What the client does with each response is all it does."""
        count = len(self.known)
        before = {uid for uid, _ in self.known}
        for update in self.selected.updates(expunge=expunge):
            match update:
                case Expunge(number):
                    assert expunge
                    uid, _ = self.known.pop(number - 1)
                    assert uid not in self.mail
                    count -= 1
                case Exists(exists):
                    new = sorted(self.mail)[len([uid for uid, _ in self.known if uid in self.mail]) :]
                    assert exists == count + len(new) > count
                    self.known += [(uid, self.mail[uid]) for uid in new]  # and fetches their flags
                    count = exists
                case RecentCount(recent):
                    assert recent == len([uid for uid, _ in self.known if uid >= 7])
                case Keywords(names):
                    self.keywords = len(names)
                case FlagUpdate(uid):
                    number = self.selected.number(uid)
                    assert self.known[number - 1][0] == uid
                    assert uid in before - self.told
                    if self.mail[uid] == 32:
                        assert self.keywords, "a keyword is used before FLAGS named it"
                    self.known[number - 1] = (uid, self.mail[uid])
        self.told.clear()
        # P3: everything there is has been said.
        assert [uid for uid, _ in self.known if uid in self.mail] == sorted(self.mail)
        assert all(flags == self.mail[uid] for uid, flags in self.known if uid in self.mail)
        if expunge:
            assert [uid for uid, _ in self.known] == sorted(self.mail)
        assert self.selected.updates(expunge=expunge) == []

    @invariant()
    def numbers_agree(self) -> None:
        assert self.selected.exists == len(self.known)
        for number, (uid, _) in enumerate(self.known, 1):
            assert self.selected.uid(number) == uid
            assert self.selected.number(uid) == number
            position = self.view.position(uid)
            if position >= 0:
                assert self.selected.number_at(position, uid) == number
        assert list(self.selected.expunged) == [uid for uid, _ in self.known if uid not in self.mail]

    @rule(first=st.integers(1, 12), last=st.integers(1, 12))
    def resolve(self, first: int, last: int) -> None:
        numbers = SequenceSet(((first, last),))
        low, high = sorted((first, last))
        if high > len(self.known):
            with pytest.raises(UnknownNumber):
                self.selected.resolve(numbers, uid=False)
        else:
            found = self.selected.resolve(numbers, uid=False)
            wanted = [uid for uid, _ in self.known[low - 1 : high]]
            assert self.selected.live(found) == [uid for uid in wanted if uid in self.mail]
            assert self.selected.gone(found) == [uid for uid in wanted if uid not in self.mail]
        star = self.selected.resolve(SequenceSet(((first, 0),)), uid=False)
        wanted = [uid for uid, _ in self.known]
        wanted = wanted[min(first, len(wanted)) - 1 :] if wanted else []
        assert self.selected.live(star) == [uid for uid in wanted if uid in self.mail]
        by_uid = self.selected.resolve(SequenceSet(((low, high), (high, 0))), uid=True)
        last_uid = self.known[-1][0] if self.known else 0
        wanted = [uid for uid, _ in self.known if low <= uid or (uid == last_uid)]
        assert self.selected.live(by_uid) == [uid for uid in wanted if uid in self.mail]
        masks = self.selected.masks(by_uid)
        assert masks == {uid: self.mail[uid] for uid in wanted if uid in self.mail}


TestSelected = Client.TestCase
TestSelected.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_set_costs_its_ranges_not_its_numbers() -> None:
    """H5: all numbers there are, a thousand times over."""
    count = 200_000
    rows = Rows(array("I", range(1, count + 1)), array("q", [0]) * count, array("q", [1]) * count)
    selected = Selected(View(mailbox(count + 1), rows), read_only=True, recent_from=count + 1)
    everything = SequenceSet(((1, 4_294_967_295), *((1, 0) for _ in range(1000))))
    assert selected.resolve(everything, uid=True) == Ranges(((1, count),))
