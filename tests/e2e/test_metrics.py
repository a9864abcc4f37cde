"""`/metrics` and `/health` of the running server: the figures are those of what happened, and name nobody."""

import contextlib
import http.client
import imaplib
import json
import os
import signal
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.figures import Samples, read_page, sample
from tests.support.net import client_context
from tests.support.server_process import HOST, Databases, ServerProcess, make_message, wait_until

WORKERS = 2


def get(server: ServerProcess, path: str, accept: str = "*/*") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, server.port("Metrics"), timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.status, response.read()


def figures(server: ServerProcess) -> Samples:
    status, page = get(server, "/metrics")
    assert status == 200
    return read_page(page)


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum over all other labels, such as `worker`."""
    return sum(value for (each, has), value in samples.items() if each == name and labels.items() <= dict(has).items())


def health(server: ServerProcess) -> tuple[int, dict[str, str]]:
    status, body = get(server, "/health")
    return status, json.loads(body)


@pytest.fixture
def server(process: ServerProcess) -> Iterator[ServerProcess]:
    with process:
        yield process


def test_figures_of_what_happened(server: ServerProcess) -> None:
    anna = server.add_account("anna")
    message = make_message("counted", to=anna.address)
    server.deliver(message, anna.address)
    with server.lmtp() as relay:
        relay.mail("sender@example.org")
        assert relay.rcpt("nobody.here@example.net")[0] == 550
        assert relay.docmd("HIHI anna@example.org")[0] == 500
    with imaplib.IMAP4(HOST, server.imap_port, timeout=20) as client:
        client.starttls(client_context())
        with pytest.raises(imaplib.IMAP4.error):
            client.login(anna.address, "wrong")
    with server.imap(anna) as one, server.starttls(anna) as other:
        one.select_folder("INBOX")
        other.select("INBOX")
        found = figures(server)
        assert sample(found, "duckmail_connections", service="imaps", tls="yes") == 1
        assert sample(found, "duckmail_connections", service="imap", tls="yes") == 1
        assert sample(found, "duckmail_connections", service="imap", tls="no") == 0
        assert sample(found, "duckmail_views", state="held") == 1
    assert sample(found, "duckmail_connections_accepted_total", service="imap") == 2
    assert sample(found, "duckmail_connections_accepted_total", service="lmtp") == 2
    assert sample(found, "duckmail_logins_total", protocol="imap", result="ok") == 2
    assert sample(found, "duckmail_logins_total", protocol="imap", result="failed") == 1
    assert total(found, "duckmail_commands_total", protocol="imap", command="LOGIN", result="ok") == 2
    assert total(found, "duckmail_commands_total", protocol="imap", command="LOGIN", result="no") == 1
    assert total(found, "duckmail_commands_total", protocol="lmtp", command="RCPT", result="5xx") == 1
    assert total(found, "duckmail_commands_total", protocol="lmtp", command="DATA", result="2xx") == 1
    assert total(found, "duckmail_commands_total", protocol="lmtp", command="unknown", result="5xx") == 1
    assert total(found, "duckmail_commands_total", protocol="api", command="POST /users", result="2xx") == 1
    assert sample(found, "duckmail_messages_received_total", protocol="lmtp") == 1
    assert sample(found, "duckmail_messages_received_bytes_total", protocol="lmtp") == len(message)
    assert sample(found, "duckmail_recipients_total", result="accepted") == 1
    assert sample(found, "duckmail_recipients_total", result="unknown") == 1
    assert sample(found, "duckmail_deliveries_total", verdict="stored") == 1
    assert total(found, "duckmail_deliveries_total") == 1
    assert sample(found, "duckmail_commits_total", result="committed") >= 1
    assert sample(found, "duckmail_commit_seconds_count") == sample(found, "duckmail_commits_total", result="committed")
    assert sample(found, "duckmail_view_opens_total", result="miss") == 1
    assert sample(found, "duckmail_view_opens_total", result="hit") >= 1
    assert sample(found, "duckmail_loop_lag_seconds_count") >= 1
    assert sample(found, "duckmail_database_up", database="mongodb") == 1
    assert sample(found, "duckmail_database_up", database="redis") == 1
    assert sample(found, "duckmail_queue_messages", state="due") == 0
    assert sample(found, "process_open_fds") > 10


def test_what_is_delivered_twice_is_a_duplicate(server: ServerProcess) -> None:
    anna, bert = server.add_account("anna"), server.add_account("bert")
    for _ in range(2):
        server.deliver(make_message("once"), anna.address, bert.address)
    found = figures(server)
    assert sample(found, "duckmail_deliveries_total", verdict="stored") == 2
    assert sample(found, "duckmail_deliveries_total", verdict="duplicate") == 2


def test_submission_queue_and_pop3(server: ServerProcess) -> None:
    anna, bert = server.add_account("anna"), server.add_account("bert")
    message = make_message("sent", sender=anna.address, to=bert.address)
    with server.submission(anna) as client:
        client.sendmail(anna.address, [bert.address], message)

    def delivered() -> float:
        return sample(figures(server), "duckmail_queue_attempts_total", outcome="delivered")

    wait_until(delivered, 10, "the message to be delivered")
    with server.pop3(bert) as drop:
        assert drop.stat()[0] == 1
        found = figures(server)
        assert sample(found, "duckmail_connections", service="pop3s", tls="yes") == 1
    assert sample(found, "duckmail_connections_accepted_total", service="submissions") == 1
    assert sample(found, "duckmail_logins_total", protocol="submission", result="ok") == 1
    assert sample(found, "duckmail_logins_total", protocol="pop3", result="ok") == 1
    assert total(found, "duckmail_commands_total", protocol="submission", command="DATA", result="2xx") == 1
    assert total(found, "duckmail_commands_total", protocol="pop3", command="STAT", result="ok") == 1
    assert sample(found, "duckmail_messages_received_total", protocol="submission") == 1
    assert sample(found, "duckmail_messages_received_bytes_total", protocol="submission") == len(message)
    assert sample(found, "duckmail_queue_submitted_total", origin="submission") == 1
    assert sample(found, "duckmail_queue_attempts_total", outcome="delivered") == 1
    assert sample(found, "duckmail_deliveries_total", verdict="stored") == 1


def test_what_waits_in_the_queue(server: ServerProcess) -> None:
    """Without a relay, mail to others waits."""
    anna = server.add_account("anna")
    with server.submission(anna) as client:
        client.sendmail(anna.address, ["somebody@example.net"], make_message("waits", sender=anna.address))

    def waits() -> bool:
        return sample(figures(server), "duckmail_queue_messages", state="deferred") == 1

    wait_until(waits, 15, "the message to be seen in the queue")
    assert 0 < sample(figures(server), "duckmail_queue_oldest_seconds", state="deferred") < 60


def test_nobody_is_named(server: ServerProcess) -> None:
    anna = server.add_account("anna")
    server.deliver(make_message("secret.subject"), anna.address)
    with server.lmtp() as relay:
        relay.docmd("CHOSEN.VERB")
        relay.mail("chosen.sender@example.org")
        relay.rcpt("chosen.recipient@example.org")
    with imaplib.IMAP4(HOST, server.imap_port, timeout=20) as client:
        client.starttls(client_context())
        with contextlib.suppress(imaplib.IMAP4.error):
            client.login("chosen.user@example.org", "chosen.password")
        client.login(anna.address, anna.password)
        client.select("INBOX")
        with contextlib.suppress(imaplib.IMAP4.error):
            client.xatom("CHOSENCOMMAND")
    with contextlib.suppress(AssertionError):
        server.api("POST", "/authenticate", {"username": "chosen.user", "password": "x", "protocol": "chosen.protocol"})
    for accept in ("text/plain", "application/openmetrics-text"):
        page = get(server, "/metrics", accept)[1].decode().lower()
        for word in ("@", "anna", "chosen", "secret", anna.id, HOST, "example"):
            assert word not in page


def test_health(server: ServerProcess) -> None:
    assert health(server) == (200, {"status": "ok", "mongodb": "ok", "redis": "ok"})
    assert get(server, "/users")[0] == 404


def test_health_means_it(tmp_path: Path) -> None:
    """A database that hangs, which no closed port betrays."""
    with ServerProcess(tmp_path) as server:
        names = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in server.children()}
        mongod = next(pid for name, pid in names.items() if name.startswith("mongod"))
        redis = next(pid for name, pid in names.items() if not name.startswith("mongod"))
        assert health(server)[0] == 200
        os.kill(redis, signal.SIGSTOP)
        try:
            wait_until(lambda: health(server)[1]["redis"] == "Redis is down", 10, "Redis to be missed")
            assert health(server)[0] == 200
            assert sample(figures(server), "duckmail_database_up", database="redis") == 0
        finally:
            os.kill(redis, signal.SIGCONT)
        wait_until(lambda: health(server)[1]["redis"] == "ok", 10, "Redis to be well")
        os.kill(mongod, signal.SIGSTOP)
        try:
            down = {"status": "failing", "mongodb": "DB is down", "redis": "ok"}
            wait_until(lambda: health(server) == (503, down), 15, "MongoDB to be missed")
            assert sample(figures(server), "duckmail_database_up", database="mongodb") == 0
        finally:
            os.kill(mongod, signal.SIGCONT)
        wait_until(lambda: health(server)[0] == 200, 15, "MongoDB to be well")


def test_a_full_server_can_be_looked_at(process: ServerProcess) -> None:
    process.configure({"limits": {"connections": 1}})
    with process, socket.create_connection((HOST, process.imap_port), timeout=10) as held:
        assert held.recv(1000).startswith(b"* OK")
        with socket.create_connection((HOST, process.imap_port), timeout=10) as refused:
            assert refused.recv(1000).startswith(b"* BYE")
        found = figures(process)
        assert sample(found, "duckmail_connections_refused_total", reason="total") == 1
        assert sample(found, "duckmail_connections", service="imap", tls="no") == 1
        assert health(process)[0] == 200


def test_without_metrics_nobody_listens(process: ServerProcess) -> None:
    process.configure({"metrics": {"enabled": False}})
    with process:
        assert "Metrics" not in process.welcome


def test_workers(tmp_path: Path, mongo_uri: str, redis_url: str, redis_prefix: str, database_name: str) -> None:
    server = ServerProcess(tmp_path / "s", Databases(mongo_uri, database_name, redis_url, redis_prefix))
    server.start("--workers", str(WORKERS))
    try:
        anna = server.add_account("anna")
        for number in range(6):
            server.deliver(make_message(f"number {number}"), anna.address)
        found = figures(server)
        assert total(found, "duckmail_deliveries_total", verdict="stored") == 6
        assert [sample(found, "duckmail_worker_up", worker=str(number)) for number in range(WORKERS)] == [1, 1]
        processes = {dict(labels)["worker"] for name, labels in found if name == "process_resident_memory_bytes"}
        assert processes == {"0", "1", "parent"}
        assert health(server) == (200, {"status": "ok", "worker-0": "ok", "worker-1": "ok"})
        pids = [pid for pid in server.children() if b"--worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(pids[0], signal.SIGSTOP)
        try:
            found = figures(server)
            assert sorted(sample(found, "duckmail_worker_up", worker=number) for number in "01") == [0, 1]
            assert health(server)[0] == 200
        finally:
            os.kill(pids[0], signal.SIGKILL)

        def all_up() -> bool:
            samples = figures(server)
            return all(sample(samples, "duckmail_worker_up", worker=number) == 1 for number in "01")

        wait_until(all_up, 20, "the worker to be started again")
        server.send(signal.SIGTERM)  # not `stop`, to which the death in the log is an error
        assert server.process is not None
        assert server.process.wait(20) == 0
        server.process = None
        assert not list((tmp_path / "s").rglob("*.sock"))
    finally:
        server.kill()


def test_smtplib_is_counted_by_its_replies(server: ServerProcess) -> None:
    with smtplib.LMTP(HOST, server.lmtp_port, local_hostname="relay.test") as client:
        client.docmd("NOOP")
        client.docmd("DATA")
    found = figures(server)
    assert total(found, "duckmail_commands_total", protocol="lmtp", command="NOOP", result="2xx") == 1
    assert total(found, "duckmail_commands_total", protocol="lmtp", command="DATA", result="5xx") == 1
