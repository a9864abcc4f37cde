"""Certificates of the API are presented for their names at once, by every protocol, in every process."""

import contextlib
import imaplib
import poplib
import re
import shutil
import signal
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.support.net import client_context, make_certificate
from tests.support.server_process import HOST, Databases, ServerProcess, wait_until

SECONDS = 40.0


@pytest.fixture
def processes(
    tmp_path: Path, mongo_uri: str, redis_url: str, redis_prefix: str, database_name: str
) -> Iterator[list[ServerProcess]]:
    """Two on one database, with one key file."""
    databases = Databases(mongo_uri, database_name, redis_url, redis_prefix)
    made = [ServerProcess(tmp_path / name, databases) for name in ("1", "2")]
    with contextlib.ExitStack() as stack:
        for one in made:
            stack.callback(one.kill)
            one.configure({"api": {"listen_tls": [f"{HOST}:0"]}, "lmtp": {"starttls": True}})
        made[0].start()
        made[1].data.mkdir(mode=0o700)
        shutil.copy(made[0].data / "seal-key", made[1].data / "seal-key")
        made[1].start()
        yield made
        for one in made:
            one.stop()


def _implicit(port: int, name: str) -> ssl.SSLSocket:
    return client_context().wrap_socket(socket.create_connection((HOST, port), SECONDS), server_hostname=name)


def _named(name: str) -> ssl.SSLContext:
    """A context whose clients ask for `name`, whatever they connect to."""

    class Context(ssl.SSLContext):
        def wrap_socket(self, sock: socket.socket, *_: object, **__: object) -> ssl.SSLSocket:  # type: ignore[override]
            return super().wrap_socket(sock, server_hostname=name)

    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _imap(server: ServerProcess, name: str) -> ssl.SSLSocket:
    client = imaplib.IMAP4(HOST, server.imap_port, SECONDS)
    client.starttls(_named(name))
    return client.sock  # type: ignore[return-value]


def _pop3(server: ServerProcess, name: str) -> ssl.SSLSocket:
    client = poplib.POP3(HOST, server.pop3_port(tls=False), SECONDS)
    client.stls(_named(name))
    return client.sock  # type: ignore[return-value]


def _submission(server: ServerProcess, name: str) -> ssl.SSLSocket:
    client = smtplib.SMTP(HOST, server.submission_port(tls=False), "client.test", SECONDS)
    client.starttls(context=_named(name))
    return client.sock  # type: ignore[return-value]


def _lmtp(server: ServerProcess, name: str) -> ssl.SSLSocket:
    client = smtplib.LMTP(HOST, server.lmtp_port, "client.test", timeout=SECONDS)
    client.starttls(context=_named(name))
    return client.sock  # type: ignore[return-value]


def _api_port(server: ServerProcess) -> int:
    found = re.search(r"^ +API, TLS +(\S+)$", server.welcome, re.MULTILINE)
    assert found
    return int(found[1].rpartition(":")[2])


WAYS: dict[str, Callable[[ServerProcess, str], ssl.SSLSocket]] = {
    "imap": _imap,
    "imaps": lambda server, name: _implicit(server.imaps_port, name),
    "pop3": _pop3,
    "pop3s": lambda server, name: _implicit(server.pop3_port(tls=True), name),
    "submission": _submission,
    "submissions": lambda server, name: _implicit(server.submission_port(tls=True), name),
    "lmtp": _lmtp,
    "api": lambda server, name: _implicit(_api_port(server), name),
}


def presented(server: ServerProcess, name: str) -> dict[str, str]:
    """The common name of what each protocol presents for `name`."""
    found = {}
    for way, connect in WAYS.items():
        with connect(server, name) as secured:
            certificate = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
        found[way] = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    return found


def test_every_protocol_of_every_process_follows(processes: list[ServerProcess], tmp_path: Path) -> None:
    ids = {}
    for name in ("one.example", "*.wild.example"):
        files = make_certificate(tmp_path / "given", name)
        body = {"servername": name, "privateKey": files.key.read_text(), "cert": files.certificate.read_text()}
        ids[name] = processes[0].api("POST", "/certs", body)["id"]
    default = presented(processes[0], "other.example")["imaps"]
    for server in processes:
        wait_until(lambda server=server: "wild" in _imaps_name(server, "a.wild.example"), SECONDS, "the certificates")
        assert set(presented(server, "ONE.example").values()) == {"one.example"}
        assert set(presented(server, "a.wild.example").values()) == {"*.wild.example"}
        assert set(presented(server, "a.b.wild.example").values()) == {default}
    for server in processes:  # reads the files again, and leaves these
        server.send(signal.SIGHUP)
        wait_until(lambda server=server: "certificates reloaded" in server.log.read_text(), SECONDS, "the reload")
        assert _imaps_name(server, "a.wild.example") == "*.wild.example"
    assert processes[1].api("DELETE", f"/certs/{ids['one.example']}")["success"]
    for server in processes:
        wait_until(lambda server=server: _imaps_name(server, "one.example") == default, SECONDS, "the removal")
        assert set(presented(server, "one.example").values()) == {default}
        assert _imaps_name(server, "a.wild.example") == "*.wild.example"


def _imaps_name(server: ServerProcess, name: str) -> str:
    with _implicit(server.imaps_port, name) as secured:
        certificate = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
