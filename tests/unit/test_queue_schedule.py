"""What an outcome makes of a recipient, and when."""

from datetime import UTC, datetime, timedelta

import pytest

from duckmail.model.queue import NOTIFY_DEFAULT, Notify, Outcome, QueueRecipient, State
from duckmail.services.queue.schedule import Schedule, words

NOW = datetime(2026, 11, 2, 10, tzinfo=UTC)
WAITS = (300.0, 600.0, 7200.0)
OLD = NOW - timedelta(days=2)


def settle(outcome: Outcome, attempts: int = 0, created: datetime = OLD, factor: float = 1.0) -> QueueRecipient:
    recipient = QueueRecipient("c@far.test", attempts=attempts, due=NOW)
    return Schedule(WAITS).settle(recipient, outcome, State.RELAYED, created=created, now=NOW, factor=factor)


@pytest.mark.parametrize(
    ("outcome", "state", "status"),
    [
        pytest.param(Outcome("", 250, "2.1.5", "ok"), State.RELAYED, "2.1.5", id="250"),
        pytest.param(Outcome("", 250, "", "ok"), State.RELAYED, "2.0.0", id="250-without-status"),
        pytest.param(Outcome("", 550, "5.1.1", "no"), State.FAILED, "5.1.1", id="550"),
        pytest.param(Outcome("", 554, "", "no"), State.FAILED, "5.0.0", id="554-without-status"),
        pytest.param(Outcome("", 451, "4.3.0", "later"), State.WAITING, "4.3.0", id="451"),
        pytest.param(Outcome("", 421, "", "later"), State.WAITING, "4.0.0", id="421-without-status"),
        pytest.param(Outcome("", 0, "4.4.1", "no answer"), State.WAITING, "4.4.1", id="no-answer"),
        pytest.param(Outcome("", 0, "4.4.2", "broke", ambiguous=True), State.WAITING, "4.4.2", id="ambiguous"),
    ],
)
def test_states(outcome: Outcome, state: State, status: str) -> None:
    settled = settle(outcome)
    assert (settled.state, settled.status, settled.attempts, settled.tried) == (state, status, 1, NOW)
    assert (settled.due is not None) == (state is State.WAITING)


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [
        pytest.param(0, 300, id="first"),
        pytest.param(1, 600, id="second"),
        pytest.param(2, 7200, id="third"),
        pytest.param(3, None, id="the-last-one"),
        pytest.param(9, None, id="beyond"),
    ],
)
def test_waits(attempts: int, seconds: float | None) -> None:
    settled = settle(Outcome("", 451, "4.3.0", "later"), attempts)
    if seconds is None:
        assert (settled.state, settled.status, settled.reply) == (State.FAILED, "4.4.7", "451 4.3.0 later")
    else:
        assert settled.due == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("age", "ends"),
    [
        pytest.param(7200, False, id="before-its-time-is-over"),
        pytest.param(7300, True, id="after-it-although-every-wait-was-shorter"),
    ],
)
def test_attempts_by_hand_use_nothing_up(age: float, ends: bool) -> None:
    settled = settle(Outcome("", 451, "", "later"), 20, NOW - timedelta(seconds=age))
    assert (settled.state is State.FAILED) == ends
    assert ends or settled.due == NOW + timedelta(seconds=7200)


def test_the_wait_is_jittered() -> None:
    assert settle(Outcome("", 451, "", ""), factor=0.9).due == NOW + timedelta(seconds=270)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        pytest.param(Outcome("", 550, "5.1.1", "No such user"), "550 5.1.1 No such user", id="status-added"),
        pytest.param(Outcome("", 550, "5.1.1", "5.1.1 No such user"), "550 5.1.1 No such user", id="status-there"),
        pytest.param(Outcome("", 250, "", "ok"), "250 ok", id="no-status"),
        pytest.param(Outcome("", 0, "4.4.1", "No answer"), "No answer", id="our-own"),
        pytest.param(Outcome("", 550, "", "a\r\n b\tc"), "550 a b c", id="one-line"),
        pytest.param(Outcome("", 550, "", "é" * 400), "550 " + "é" * 248, id="long"),
        pytest.param(Outcome("", 550, "", "a\ud800"), "550 a?", id="what-cannot-be-stored"),
    ],
)
def test_words(outcome: Outcome, expected: str) -> None:
    assert words(outcome) == expected


@pytest.mark.parametrize(
    ("notify", "attempts", "hours", "before", "told"),
    [
        pytest.param(NOTIFY_DEFAULT, 6, 4.0, False, True, id="after-four-hours"),
        pytest.param(NOTIFY_DEFAULT, 6, 3.0, False, False, id="not-yet"),
        pytest.param(NOTIFY_DEFAULT, 6, 4.0, True, False, id="once"),
        pytest.param(Notify.FAILURE, 6, 4.0, False, False, id="not-asked"),
        pytest.param(NOTIFY_DEFAULT, 0, 4.0, False, False, id="never-tried"),
    ],
)
def test_delay(notify: Notify, attempts: int, hours: float, before: bool, told: bool) -> None:
    recipient = QueueRecipient("c@far.test", notify, attempts=attempts, delayed=before)
    assert Schedule(WAITS).delayed(recipient, NOW - timedelta(hours=hours), NOW) == told
    assert not Schedule(WAITS, delay=timedelta()).delayed(recipient, NOW - timedelta(hours=hours), NOW)
    early = Schedule(WAITS, delay=timedelta(minutes=30)).delayed(recipient, NOW - timedelta(hours=hours), NOW)
    assert early == (Notify.DELAY in notify and not before and attempts > 0)


def test_end() -> None:
    waiting = QueueRecipient("c@far.test", attempts=2, due=NOW)
    assert Schedule(WAITS).ends(waiting, NOW) == NOW + timedelta(seconds=8100)
    assert Schedule(WAITS).ends(waiting, OLD) == NOW + timedelta(seconds=7200)
