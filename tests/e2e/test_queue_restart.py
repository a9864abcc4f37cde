"""A server that ends with mail on its way: what it took goes on when it is back, once."""

import signal
from collections.abc import Iterator

import pytest

from tests.support.queued import Queued, queued
from tests.support.relay import HANG, SLOW, Relay
from tests.support.server_process import Account, ServerProcess, make_message, wait_until

BACK = 40.0  # seconds; a lease that nobody had given back would last a minute


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as running:
        yield running


@pytest.fixture
def server(process: ServerProcess, relay: Relay) -> ServerProcess:
    outbound = {"relay": f"smtp://127.0.0.1:{relay.port}", "schedule": [3, 3, 3]}
    process.configure({"outbound": outbound, "server": {"drain_timeout": 2}})
    process.start()
    return process


@pytest.fixture
def anna(server: ServerProcess) -> Account:
    return server.add_account("anna", uploadSentMessages=True)


@pytest.fixture
def queue(server: ServerProcess, mongo_uri: str, database_name: str) -> Iterator[Queued]:
    with queued(server, mongo_uri, database_name) as found:
        yield found


def end(server: ServerProcess, number: signal.Signals) -> None:
    if number is signal.SIGTERM:
        server.stop()
    else:
        server.kill()


both = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["sigterm", "sigkill"])


@both
def test_what_waits_goes_on(
    number: signal.Signals, server: ServerProcess, relay: Relay, anna: Account, queue: Queued
) -> None:
    """One that was deferred, and one for which there was no connection."""
    first_to, second_to = "b@wait.example", "c@wait.example"
    relay.replies[first_to] = ["451 4.7.1 Later", "250 2.1.5 Ok"]
    first = server.submit(anna, make_message("deferred", sender=anna.address), first_to, anna.address)
    queue.tried(first)
    relay.stop()
    second = server.submit(anna, make_message("no answer", sender=anna.address), second_to)
    queue.tried(second)
    end(server, number)
    attempts = {identifier: queue.fates(identifier) for identifier in (first, second)}
    relay.start()
    server.start()
    assert queue.ended(first, BACK)[anna.address] == ("delivered", "2.1.5", 1)
    for identifier, to in ((first, first_to), (second, second_to)):
        assert queue.ended(identifier, BACK)[to] == ("relayed", "2.0.0", attempts[identifier][to][2] + 1)
        assert [taken.accepted for taken in relay.seen(to)] == [True]
    assert len(server.messages(anna)) == 1
    assert len(server.messages(anna, "Sent Mail")) == 2


def test_an_attempt_under_way_comes_to_its_end(
    server: ServerProcess, relay: Relay, anna: Account, queue: Queued
) -> None:
    to = "b@slow.example"
    relay.ends[to] = [SLOW]
    identifier = server.submit(anna, make_message("slow", sender=anna.address), to)
    wait_until(lambda: relay.seen(to), 60, "the message to be at the relay")
    server.stop()
    assert queue.fates(identifier) == {to: ("relayed", "2.0.0", 1)}
    server.start()
    assert len(relay.seen(to)) == 1


@both
def test_an_attempt_that_is_broken_off_is_made_again(
    number: signal.Signals, server: ServerProcess, relay: Relay, anna: Account, queue: Queued
) -> None:
    """Within the window that SMTP leaves: the relay had it and had not answered yet. It gets it twice at most."""
    to = "b@hang.example"
    relay.ends[to] = [HANG]
    identifier = server.submit(anna, make_message("hangs", sender=anna.address), to)
    wait_until(lambda: relay.seen(to), 60, "the message to be at the relay")
    end(server, number)
    server.start()
    assert queue.ended(identifier, BACK)[to][:2] == ("relayed", "2.0.0")
    assert [taken.accepted for taken in relay.seen(to)] == [False, True]
    assert relay.seen(to)[0].octets == relay.seen(to)[1].octets


def test_a_report_survives(server: ServerProcess, relay: Relay, anna: Account, queue: Queued) -> None:
    """It is in the queue with the refusal, in one commit; whoever dies then, the sender is told, once."""
    to = "b@refused.example"
    relay.replies[to] = ["550 5.1.1 No such user"]
    identifier = server.submit(anna, make_message("refused", sender=anna.address), to)
    queue.ended(identifier)
    server.kill()
    server.start()
    [report] = queue.told(anna)
    assert report.statuses == {to: ("failed", "5.1.1")}
