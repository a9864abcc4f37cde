"""A view fed with own commits and with snapshots, late, doubled or out of order, is never wrong."""

from array import array
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from duckmail.model.mailbox import Mailbox
from storage.views import Delta, Rows, View

EMPTY = Mailbox(id="b" * 24, user="a" * 24, path="INBOX", uidvalidity=1, uidnext=1, modseq=1)


@dataclass
class Model:
    """A mailbox with its whole history: what MongoDB would answer for any moment."""

    uidnext: int = 1
    states: list[dict[int, tuple[int, int]]] = field(default_factory=lambda: [{}])  # uid -> (flags, modseq)
    tombstones: list[tuple[int, int]] = field(default_factory=list)  # modseq, uid

    @property
    def modseq(self) -> int:
        return len(self.states)

    def mailbox(self, modseq: int) -> Mailbox:
        return replace(EMPTY, uidnext=self.uidnext, modseq=modseq, messages=len(self.states[modseq - 1]))

    def commit(self, kind: str, pick: int, flags: int) -> Delta:
        state = dict(self.states[-1])
        modseq = self.modseq + 1
        added, changed, expunged = [], [], []
        if kind == "append" or not state:
            added = [(self.uidnext, flags)]
            state[self.uidnext] = (flags, modseq)
            self.uidnext += 1
        elif kind == "store":
            uid = sorted(state)[pick % len(state)]
            changed = [(uid, flags)]
            state[uid] = (flags, modseq)
        else:
            uid = sorted(state)[pick % len(state)]
            expunged = [uid]
            del state[uid]
            self.tombstones.append((modseq, uid))
        self.states.append(state)
        return Delta(self.mailbox(modseq), added, changed, expunged)

    def snapshot(self, since: int, at: int) -> tuple[Mailbox, Rows, list[int]]:
        """What a sync from `since` reads at the moment of modseq `at`."""
        rows = [(uid, flags, seq) for uid, (flags, seq) in sorted(self.states[at - 1].items()) if seq > since]
        gone = [uid for modseq, uid in self.tombstones if since < modseq <= at]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
        return self.mailbox(at), Rows(array("I", columns[0]), array("q", columns[1]), array("q", columns[2])), gone


class Listener:
    def __init__(self) -> None:
        self.expunged: list[int] = []

    def view_changed(self, expunged: object) -> None:
        self.expunged += list(expunged)  # type: ignore[call-overload]


steps = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "store", "expunge"]),
        st.integers(0, 50),
        st.integers(0, 31),
        st.sampled_from(["own", "foreign", "begin sync", "end sync"]),
    ),
    max_size=60,
)


@given(steps)
def test_a_view_equals_the_mailbox_at_its_modseq(script: list[tuple[str, int, int, str]]) -> None:
    model, listener = Model(), Listener()
    view = View(EMPTY, Rows())
    view.attach(listener)
    pending: list[tuple[int, int]] = []
    for kind, pick, flags, how in script:
        if how == "begin sync":
            pending.append((view.mailbox.modseq, model.modseq))
        elif how == "end sync" and pending:
            since, at = pending.pop(pick % len(pending))
            if since <= view.mailbox.modseq:
                view.catch_up(*model.snapshot(since, at))
        else:
            delta = model.commit(kind, pick, flags)
            if how == "own":
                view.apply(delta)
        check(view, model, listener)
    view.catch_up(*model.snapshot(view.mailbox.modseq, model.modseq))
    assert view.mailbox.modseq == model.modseq
    check(view, model, listener)


def check(view: View, model: Model, listener: Listener) -> None:
    at = view.mailbox.modseq
    expected = sorted((uid, flags, seq) for uid, (flags, seq) in model.states[at - 1].items())
    assert list(zip(view.uids, view.flags, view.modseqs, strict=True)) == expected
    assert listener.expunged == sorted(set(listener.expunged), key=listener.expunged.index), "told once"
    gone = {uid for modseq, uid in model.tombstones if modseq <= at}
    assert set(listener.expunged) <= gone
    for since in range(1, at + 1):
        assert view.changed_since(since) == [uid for uid, _, seq in expected if seq > since]
