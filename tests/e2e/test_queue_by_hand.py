"""`duckmail queue` beside the running server: what an administrator says is what the server does."""

import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.support.queued import Queued, queued
from tests.support.relay import Relay
from tests.support.server_process import Account, Databases, ServerProcess, make_message, wait_until

LOOK = 5.0  # seconds in which a server would hear of another process's doing: it looks every 2 s
REFUSED = "451 4.7.1 Come back later"


@pytest.fixture(scope="module")
def server(
    relay: Relay, module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """By itself it tries each message once an hour."""
    sections = {"outbound": {"relay": f"smtp://127.0.0.1:{relay.port}", "schedule": ["1 h", "1 h"]}}
    with ServerProcess(tmp_path_factory.mktemp("by-hand"), module_databases, sections) as running:
        yield running


@pytest.fixture
def anna(server: ServerProcess, request: pytest.FixtureRequest) -> Account:
    return server.add_account("anna." + re.sub(r"\W+|_", "-", request.node.name).strip("-"))


def said(server: ServerProcess, *words: str) -> str:
    done = server.run("queue", *words)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def deferred(server: ServerProcess, relay: Relay, queue: Queued, anna: Account, to: str, *more: str) -> str:
    """A message that the relay deferred once; the next time it takes it."""
    relay.replies[to] = [REFUSED, "250 2.1.5 Ok"]
    identifier = server.submit(anna, make_message(f"for {to}", sender=anna.address), to, *more)
    queue.tried(identifier)
    return identifier


def test_list_show_and_retry(server: ServerProcess, relay: Relay, queue: Queued, anna: Account) -> None:
    to, other = "b@list.example", "c@list.example"
    identifier = deferred(server, relay, queue, anna, to, other)
    [line] = [line for line in said(server, "list").splitlines() if line.startswith(identifier)]
    assert anna.address in line
    assert f"{to} and 1 more" in line
    assert "1 waiting, 1 relayed, next attempt in" in line
    shown = said(server, "show", identifier)
    assert "said        451 4.7.1 Come back later (127.0.0.1)\n" in shown
    assert "state       waiting 4.7.1, 1 attempts\n" in shown
    assert "state       relayed 2.0.0, 1 attempts\n" in shown

    found = json.loads(said(server, "show", identifier, "--json"))
    assert [json.loads(line)["id"] for line in said(server, "list", "--json").splitlines()] == [identifier]
    assert {name: found[name] for name in ("id", "user", "origin", "sender", "held", "ended")} == {
        "id": identifier,
        "user": anna.id,
        "origin": "submission",
        "sender": anna.address,
        "held": False,
        "ended": None,
    }
    waiting, relayed = found["recipients"]
    assert (waiting["address"], waiting["state"], waiting["reply"]) == (to, "waiting", REFUSED)
    assert (relayed["address"], relayed["state"], relayed["attempts"], relayed["due"]) == (other, "relayed", 1, None)

    assert said(server, "retry", identifier) == f"{identifier} will be tried now\n"
    assert queue.ended(identifier) == {to: ("relayed", "2.0.0", 2), other: ("relayed", "2.0.0", 1)}
    assert said(server, "list") == "the queue is empty\n"
    assert identifier in said(server, "list", "--all")
    assert "ended" in said(server, "show", identifier)
    # Who had it did not get it again.
    assert [len(relay.seen(address)) for address in (to, other)] == [1, 1]


def test_retry_all(server: ServerProcess, relay: Relay, queue: Queued, anna: Account) -> None:
    names = [f"b{number}@all.example" for number in range(3)]
    identifiers = [deferred(server, relay, queue, anna, to) for to in names]
    assert said(server, "retry", "all") == "3 messages will be tried now\n"
    for to, identifier in zip(names, identifiers, strict=True):
        assert queue.ended(identifier) == {to: ("relayed", "2.0.0", 2)}
    assert said(server, "retry", "all") == "0 messages will be tried now\n"


def test_by_the_api(server: ServerProcess, relay: Relay, queue: Queued, anna: Account) -> None:
    """What is held is not tried; what is let go and made due goes out at once."""
    to = "b@api.example"
    identifier = deferred(server, relay, queue, anna, to)
    path = f"/duckmail/queue/{identifier}"
    server.api("PUT", path, {"held": True})
    assert server.api("POST", f"{path}/retry", {})["due"] is True
    assert server.api("GET", path)["held"] is True
    assert relay.seen(to) == []
    server.api("PUT", path, {"held": False})
    assert queue.ended(identifier) == {to: ("relayed", "2.0.0", 2)}
    assert server.api("GET", path)["recipients"][0]["state"] == "relayed"


def test_hold_and_release(server: ServerProcess, relay: Relay, queue: Queued, anna: Account) -> None:
    to = "b@hold.example"
    identifier = deferred(server, relay, queue, anna, to)
    assert said(server, "hold", identifier) == f"{identifier} is held\n"
    assert said(server, "retry", identifier) == f"{identifier} will be tried when it is released: it is held\n"
    time.sleep(LOOK)
    assert queue.fates(identifier) == {to: ("waiting", "4.7.1", 1)}
    assert said(server, "release", identifier) == f"{identifier} is not held\n"
    assert queue.ended(identifier) == {to: ("relayed", "2.0.0", 2)}
    assert len(relay.seen(to)) == 1


@pytest.mark.parametrize("notify", [False, True], ids=["silently", "with-a-report"])
def test_remove(notify: bool, server: ServerProcess, relay: Relay, queue: Queued, anna: Account) -> None:
    to, other = f"b{notify}@remove.example", f"c{notify}@remove.example"
    identifier = deferred(server, relay, queue, anna, to, other)
    words = ["remove", identifier, *(["--notify"] if notify else [])]
    assert said(server, *words) == f"{identifier} is removed; 1 recipients will not get it\n"
    fate = ("failed" if notify else "removed", "5.7.1", 1)
    assert queue.ended(identifier) == {to: fate, other: ("relayed", "2.0.0", 1)}
    told = queue.told(anna, int(notify))
    assert [report.statuses for report in told] == [{to: ("failed", "5.7.1")}] * notify
    assert all("removed by an administrator" in report.text for report in told)
    again = server.run("queue", *words)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith(f"duckmail: {identifier} is at its end; ")
    assert relay.seen(to) == []


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        pytest.param(
            ["show", "0" * 24], 1, "duckmail: There is no message 000000000000000000000000 in the queue\n", id="unknown"
        ),
        pytest.param(["retry", "\x1b[2J"], 1, "duckmail: There is no message \\x1b[2J in the queue\n", id="no-id"),
        pytest.param(["remove", "all"], 1, "duckmail: There is no message all in the queue\n", id="all-is-for-retry"),
        pytest.param(["show"], 2, "the following arguments are required: id\n", id="nothing-named"),
        pytest.param(["flush"], 2, "invalid choice: 'flush'", id="no-such-action"),
    ],
)
def test_mistakes(words: list[str], status: int, error: str, server: ServerProcess) -> None:
    done = server.run("queue", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def test_what_waits_for_a_route(
    mongo_uri: str, redis_url: str, redis_prefix: str, database_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With neither relay nor MX it waits, and start-up says so; with a relay it goes."""
    server = ServerProcess(
        tmp_path_factory.mktemp("route"), Databases(mongo_uri, database_name, redis_url, redis_prefix)
    )
    try:
        words = "Mail for other domains waits in the queue: neither outbound.relay nor outbound.mx is set."
        assert words in server.start()
        anna = server.add_account("anna")
        identifier = server.submit(anna, make_message("waits", sender=anna.address), "b@route.example")
        with queued(server, mongo_uri, database_name) as queue:
            wait_until(lambda: queue.fates(identifier)["b@route.example"][1], 10, "a look")
            assert queue.fates(identifier) == {"b@route.example": ("waiting", "4.4.4", 0)}
            assert "waits for a route" in said(server, "list")
            server.stop()
            with Relay() as relay:
                server.configure({"outbound": {"relay": f"smtp://127.0.0.1:{relay.port}"}})
                assert words not in server.start()
                assert queue.ended(identifier) == {"b@route.example": ("relayed", "2.0.0", 1)}
                assert len(relay.seen("b@route.example")) == 1
        server.stop()
    finally:
        server.kill()
