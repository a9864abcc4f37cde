"""SCRAM-SHA-256 with the libraries that programs have for it: Cyrus SASL (mbsync), GNU SASL (msmtp, NeoMutt); and by
the standard library's clients, which leave the messages to their user."""

import imaplib
import smtplib
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from tests.interop.programs import Run
from tests.interop.test_interop_neomutt import NeoMutt
from tests.support.net import client_context
from tests.support.scram_client import ScramClient
from tests.support.server_process import CLIENT_SECONDS, HOST, Account, ServerProcess, make_message, wait_until

MBSYNC = """
IMAPStore far
Host localhost
Port {port}
User {user}
Pass {password}
SSLType IMAPS
CertificateFile {crt}
AuthMechs SCRAM-SHA-256

MaildirStore near
Path {folder}/Mail/
Inbox {folder}/Mail/INBOX

Channel duck
Far :far:
Near :near:
Create Near
SyncState {folder}/state/
"""
MSMTP = """
account default
host localhost
port {port}
tls on
tls_starttls off
tls_trust_file {crt}
auth scram-sha-256
user {user}
password {password}
from {user}
logfile {folder}/msmtp.log
"""


@pytest.fixture
def mailed(server: ServerProcess, account: Account) -> Account:
    server.deliver(make_message("letter 0"), account.address)
    return account


@pytest.mark.parametrize("secret", ["password", "application password"])
def test_mbsync(server: ServerProcess, mailed: Account, run: Run, tmp_path: Path, secret: str) -> None:
    password = mailed.password
    if secret != "password":
        made = server.api("POST", f"/users/{mailed.id}/asps", {"description": "mbsync", "scopes": ["imap"]})
        password = str(made["password"])
    for name in ("Mail", "state"):
        (tmp_path / name).mkdir()
    file = tmp_path / "mbsyncrc"
    crt, port = server.certificate, server.imaps_port
    file.write_text(MBSYNC.format(port=port, user=mailed.address, password=password, crt=crt, folder=tmp_path))
    run("mbsync", "-c", str(file), "-a")
    assert len(list((tmp_path / "Mail/INBOX").glob("*/*,U=1*"))) == 1
    file.write_text(file.read_text().replace(password, f"not-{password}"))
    assert "AUTHENTICATIONFAILED" in run("mbsync", "-c", str(file), "-a", status=1)


def test_msmtp(server: ServerProcess, account: Account, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "msmtprc"
    crt, port = server.certificate, server.submission_port(tls=True)
    file.write_text(MSMTP.format(port=port, user=account.address, password=account.password, crt=crt, folder=tmp_path))
    file.chmod(0o600)
    letter = f"From: {account.address}\nTo: {account.address}\nSubject: by msmtp\n\nhello\n"
    run("msmtp", "-C", str(file), account.address, stdin=letter)
    wait_until(lambda: bool(server.messages(account)), 30, "the letter")
    assert b"Subject: by msmtp\r\n" in server.messages(account)[0]


def test_neomutt(server: ServerProcess, mailed: Account, tmp_path: Path) -> None:
    neomutt = NeoMutt(tmp_path, server, mailed, "imaps", "no")
    with (tmp_path / "neomuttrc").open("a") as file:
        file.write('set imap_authenticators = "scram-sha-256"\n')
    neomutt.press(f"<pipe-message>cat > {tmp_path}/read<enter>")
    assert b"Subject: letter 0\n" in (tmp_path / "read").read_bytes().replace(b"\r\n", b"\n")


def test_imaplib(server: ServerProcess, account: Account) -> None:
    scram = ScramClient(account.address, account.password)
    answers = iter([lambda _: scram.first(), scram.final, lambda verifier: _empty(verifier, scram)])

    def answer(challenge: bytes) -> bytes:
        return next(answers)(challenge)

    with imaplib.IMAP4_SSL(HOST, server.imaps_port, ssl_context=client_context(), timeout=CLIENT_SECONDS) as client:
        assert "AUTH=SCRAM-SHA-256" in client.capabilities
        client.authenticate("SCRAM-SHA-256", answer)
        assert client.select("INBOX")[0] == "OK"


def test_smtplib(server: ServerProcess, account: Account) -> None:
    scram = ScramClient(account.address, account.password)
    port = server.submission_port(tls=True)
    with smtplib.SMTP_SSL(HOST, port, "client.test", context=client_context(), timeout=CLIENT_SECONDS) as client:
        client.ehlo()
        assert "SCRAM-SHA-256" in client.esmtp_features["auth"].split()
        code, challenge = client.docmd("AUTH", f"SCRAM-SHA-256 {b64encode(scram.first()).decode()}")
        assert code == 334
        code, verifier = client.docmd(b64encode(scram.final(b64decode(challenge))).decode())
        assert (code, b64decode(verifier)) == (334, scram.verifier)
        code, _ = client.docmd("")
        assert code == 235
        assert client.mail(account.address)[0] == 250


def _empty(verifier: bytes, scram: ScramClient) -> bytes:
    assert verifier == scram.verifier
    return b""
