"""The ways out of the queue: relays with TLS and a login, and mail exchangers, none of them in a private network."""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from protocols.net.tls import CertificateFiles, server_context
from tests.support.dns_server import SERVFAIL, DnsServer, dns_server
from tests.support.net import make_certificate
from tests.support.queued import Queued, queued
from tests.support.relay import Relay
from tests.support.server_process import ServerProcess, make_message

# Loopback too, and nobody else's: what listens there on port 25 is this test's own.
INSIDE = "127.0.0.25"
SOON = ["500 ms", "500 ms"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "localhost")


@pytest.fixture
def queue(process: ServerProcess, mongo_uri: str, database_name: str) -> Iterator[Queued]:
    with queued(process, mongo_uri, database_name) as found:
        yield found


# aiosmtpd does not know of implicit TLS.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize(
    ("scheme", "login", "tls", "trusted", "fate"),
    [
        pytest.param("smtp", "", "may", False, "relayed", id="starttls-with-any-certificate"),
        pytest.param("smtp", "", "verify", True, "relayed", id="starttls-verified"),
        pytest.param("smtp", "", "verify", False, "waiting", id="starttls-with-a-certificate-of-strangers"),
        pytest.param("smtp", "duck:p%40ss@", "never", True, "relayed", id="login"),
        pytest.param("smtp", "duck:wrong@", "may", True, "waiting", id="a-wrong-password"),
        pytest.param("smtp", "duck:p%40ss@", "may", False, "waiting", id="no-password-for-strangers"),
        pytest.param("smtps", "duck:p%40ss@", "may", True, "relayed", id="implicit-tls-and-login"),
    ],
)
def test_relays(
    scheme: str,
    login: str,
    tls: str,
    trusted: bool,
    fate: str,
    process: ServerProcess,
    queue: Queued,
    files: CertificateFiles,
) -> None:
    context = server_context(files)
    options = {} if scheme == "smtps" else {"tls_context": context, "require_starttls": True}
    with Relay(
        context=context if scheme == "smtps" else None,
        options={**options, "auth_require_tls": scheme != "smtps"},
        login=("duck", "p@ss") if login else None,
    ) as relay:
        outbound: dict[str, object] = {"relay": f"{scheme}://{login}localhost:{relay.port}", "tls": tls}
        if trusted:
            outbound["tls_authorities"] = str(files.certificate)
        process.configure({"outbound": outbound})
        with process:
            anna = process.add_account("anna")
            identifier = process.submit(anna, make_message("by TLS", sender=anna.address), "b@c.example")
            queue.tried(identifier)
            assert queue.fates(identifier)["b@c.example"][0] == fate, queue.message(identifier)["recipients"]
            reply = str(queue.message(identifier)["recipients"][0]["reply"])
        found = [(taken.tls, taken.login) for taken in relay.seen("b@c.example")]
        assert found == ([(True, "duck" if login else "")] if fate == "relayed" else [])
        if fate == "waiting":
            assert "certificate" in reply or "refuses our login" in reply
        assert not re.search("p(@|%40)ss", process.log.read_text() + reply)


class Ear:
    """`connections`: made to port 25 of INSIDE; where that cannot be listened to, none will be counted."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError):
            self._socket = socket.create_server((INSIDE, 25))
            threading.Thread(target=self._listen, args=(self._socket,), daemon=True).start()

    def _listen(self, opened: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                opened.accept()[0].close()
                self.connections += 1

    def close(self) -> None:
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()


@pytest.fixture
def ear() -> Iterator[Ear]:
    made = Ear()
    yield made
    made.close()


ZONE: dict[tuple[str, str], Any] = {
    ("inside.example", "MX"): [(10, "mx.inside.example")],
    ("mx.inside.example", "A"): [INSIDE],
    ("private.example", "MX"): [(10, "mx.private.example")],
    ("mx.private.example", "A"): ["10.1.2.3"],
    ("mx.private.example", "AAAA"): ["fd00::1", "::1", "::ffff:127.0.0.1"],
    ("nomx.example", "A"): [INSIDE],
    ("null.example", "MX"): [(0, ".")],
    ("broken.example", "MX"): SERVFAIL,
}


async def test_mail_exchangers(process: ServerProcess, queue: Queued, ear: Ear) -> None:
    """Whoever names a private address as a mail exchanger is not connected to, and the mail waits; who has none, or
    wants no mail, is told of at once."""

    def play(dns: DnsServer) -> None:
        process.configure({"outbound": {"mx": True, "nameservers": [dns.address], "schedule": SOON}})
        with process:
            anna = process.add_account("anna")
            domains = ("inside", "private", "nomx", "null", "broken", "absent")
            everybody = {domain: f"b@{domain}.example" for domain in domains}
            message = make_message("by MX", sender=anna.address)
            identifier = process.submit(anna, message, *everybody.values())
            fates = queue.ended(identifier)
            assert fates == {
                everybody["inside"]: ("failed", "4.4.7", 3),
                everybody["private"]: ("failed", "4.4.7", 3),
                everybody["nomx"]: ("failed", "4.4.7", 3),
                everybody["null"]: ("failed", "5.1.10", 1),
                everybody["broken"]: ("failed", "4.4.7", 3),
                everybody["absent"]: ("failed", "5.1.2", 1),
            }
            replies = {each["address"]: each["reply"] for each in queue.message(identifier)["recipients"]}
            for domain, words in (
                ("inside", "mx.inside.example has no address in the public Internet"),
                ("private", "mx.private.example has no address in the public Internet"),
                ("nomx", "nomx.example has no address in the public Internet"),
                ("null", "556 5.1.10 The domain takes no mail"),
            ):
                assert replies[everybody[domain]] == words
            told: dict[str, tuple[str, str]] = {}
            for report in queue.told(anna, 2):  # of what failed at once, and of what failed in the end
                assert not set(told) & set(report.statuses)
                told |= report.statuses
            assert told == {address: ("failed", status) for address, (_, status, _) in fates.items()}
        assert ear.connections == 0
        assert ("inside.example", "MX") in dns.asked

    async with dns_server(ZONE) as dns:
        await asyncio.to_thread(play, dns)
