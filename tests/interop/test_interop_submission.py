"""Programs that send: smtplib, swaks, msmtp, curl, neomutt; by STARTTLS and implicit TLS, to an account here and to a
server elsewhere, which both get the same octets."""

import os
import re
import smtplib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.programs import PROGRAM_SECONDS, Run, require
from tests.support.letterbox import letters
from tests.support.net import client_context
from tests.support.relay import Relay
from tests.support.server_process import HOST, Account, ServerProcess, make_message, wait_until

both = pytest.mark.parametrize("tls", [False, True], ids=["starttls", "implicit-tls"])
RECEIVED = re.compile(
    rb"Received: from client \(authenticated\)\r\n\tby mail\.test with ESMTPSA id \w{32};\r\n\t[^\r]+\r\n"
)


@dataclass(frozen=True)
class Post:
    """The ways of an account's mail. `here`: another account, `there`: an address elsewhere."""

    server: ServerProcess
    outside: Relay
    sender: Account
    here: Account
    there: str

    def arrived(self) -> list[bytes]:
        """What arrived, as the sender's program sent it: here and there the same, in whatever order."""
        wait_until(lambda: len(self.outside.seen(self.there)) >= len(self.stored()), 20, "mail elsewhere")
        found = [taken.octets for taken in self.outside.seen(self.there)]
        stored = [octets.partition(b"\r\n")[2].partition(b"\r\n")[2] for octets in self.stored()]
        assert sorted(found) == sorted(stored)
        assert all(taken.sender == self.sender.address for taken in self.outside.seen(self.there))
        return [self._sent(octets) for octets in found]

    def stored(self) -> list[bytes]:
        return self.server.messages(self.here)

    def _sent(self, octets: bytes) -> bytes:
        received = RECEIVED.match(octets)
        assert received, octets[:300]
        return octets[received.end() :]

    def wait(self, count: int) -> None:
        wait_until(lambda: len(self.stored()) == count, 20, "mail here")


@pytest.fixture
def post(server: ServerProcess, outside: Relay, account: Account) -> Post:
    name = account.address.partition("@")[0]
    return Post(server, outside, account, server.add_account(f"to-{name}"), f"{name}@elsewhere.example")


@both
def test_smtplib(tls: bool, post: Post) -> None:
    port = post.server.submission_port(tls=tls)
    kind = smtplib.SMTP_SSL if tls else smtplib.SMTP
    options = {"context": client_context()} if tls else {}
    sent = [message.replace(b"sender@example.org", post.sender.address.encode()) for message in letters()]
    sent = [message.replace(b"a@example.org", post.sender.address.encode()) for message in sent]
    with kind(HOST, port, local_hostname="client.test", timeout=30, **options) as client:  # type: ignore[arg-type, call-overload]
        if not tls:
            client.starttls(context=client_context())
        client.login(post.sender.address, post.sender.password)
        for name in (
            "size",
            "8bitmime",
            "smtputf8",
            "pipelining",
            "enhancedstatuscodes",
            "chunking",
            "dsn",
            "requiretls",
        ):
            assert client.has_extn(name)
        for message in sent:
            assert client.sendmail(post.sender.address, [post.here.address, post.there], message) == {}
    post.wait(len(sent))
    without = [re.sub(rb"(?m)^(Date|Message-ID): .*\r\n", b"", octets) for octets in post.arrived()]
    assert sorted(without) == sorted(re.sub(rb"(?m)^(Date|Message-ID): .*\r\n", b"", octets) for octets in sent)
    # What had both fields, as mail has, arrived octet for octet.
    assert sum(octets in sent for octets in post.arrived()) == len(sent) - 1


@both
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("pipeline", [False, True], ids=["one-by-one", "pipelining"])
def test_swaks(tls: bool, mechanism: str, pipeline: bool, post: Post, run: Run) -> None:
    if "TLS supported" not in run("swaks", "--support"):
        pytest.skip("swaks has no TLS here: it needs Net::SSLeay (libnet-ssleay-perl)")
    argv = ["--server", HOST, "--port", str(post.server.submission_port(tls=tls)), "--helo", "client.test"]
    argv += ["--tls-on-connect" if tls else "-tls", "--auth", mechanism, "--timeout", "20"]
    argv += ["--auth-user", post.sender.address, "--auth-password", post.sender.password]
    argv += ["--from", post.sender.address, "--to", f"{post.here.address},nobody.at.all@mail.test,{post.there}"]
    argv += [
        "--header",
        "Subject: swaks",
        "--body",
        "first\\n.leading dot\\nlast",
        *(["--pipeline"] if pipeline else []),
    ]
    said = run("swaks", *argv)
    assert len(re.findall(r"^(?:<-|<~) +250 2\.1\.5 ", said, re.MULTILINE)) == 2, said
    assert len(re.findall(r"^(?:<\*\*|<~\*) +550 5\.1\.1 ", said, re.MULTILINE)) == 1, said
    assert re.search(r"250 2\.0\.0 OK queued as [0-9a-f]{24}", said), said
    post.wait(1)
    [octets] = post.arrived()
    assert b"\r\nSubject: swaks\r\n" in octets
    assert octets.endswith(b"\r\n\r\nfirst\r\n.leading dot\r\nlast\r\n\r\n\r\n")


def test_swaks_without_login_or_with_a_wrong_one(post: Post, run: Run) -> None:
    argv = ["--server", HOST, "--port", str(post.server.submission_port(tls=False)), "--timeout", "20", "-tls"]
    argv += ["--from", post.sender.address, "--to", post.there]
    assert "530 5.7.0 Authentication required" in run("swaks", *argv, status=23)
    wrong = ["--auth", "PLAIN", "--auth-user", post.sender.address, "--auth-password", "wrong"]
    assert "535 5.7.8 " in run("swaks", *argv, *wrong, status=28)
    assert post.outside.seen(post.there) == []


MSMTP = """
defaults
tls on
tls_trust_file {crt}
logfile {folder}/log

account duck
host localhost
port {port}
tls_starttls {starttls}
auth {auth}
user {user}
password {password}
from {user}
dsn_notify {notify}
dsn_return headers
"""


@both
@pytest.mark.parametrize("auth", ["plain", "login", "on"])
def test_msmtp(tls: bool, auth: str, post: Post, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "msmtprc"
    file.touch(mode=0o600)
    file.write_text(
        MSMTP.format(
            crt=post.server.certificate,
            folder=tmp_path,
            port=post.server.submission_port(tls=tls),
            starttls="off" if tls else "on",
            auth=auth,
            user=post.sender.address,
            password=post.sender.password,
            notify="failure,delay",
        )
    )
    sent = [
        make_message("from msmtp", ".\n..\n.x\nGrüße\n.", sender=post.sender.address, to=post.here.address),
        make_message("a large one", "\n".join([".some text" * 7] * 15_000), sender=post.sender.address),
    ]
    for message in sent:
        # A pipe's lines end with LF.
        text = message.decode().replace("\r\n", "\n")
        run("msmtp", "-C", str(file), "-a", "duck", "--", post.here.address, post.there, stdin=text)
    post.wait(2)
    assert sorted(post.arrived()) == sorted(sent)
    said = run("msmtp", "-C", str(file), "-a", "duck", "--", "nobody.at.all@mail.test", stdin="\n", status=65)
    assert "550 5.1.1" in said


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_curl_smtp(scheme: str, post: Post, run: Run, tmp_path: Path) -> None:
    message = make_message("from curl", ".\n..\n.x\nlast\n.", sender=post.sender.address)
    (tmp_path / "message").write_bytes(message)
    url = f"{scheme}://localhost:{post.server.submission_port(tls=scheme == 'smtps')}/client.test"
    argv = ["-sS", "--ssl-reqd", "--cacert", str(post.server.certificate), "--max-time", "20"]
    argv += ["--user", f"{post.sender.address}:{post.sender.password}", "--mail-from", post.sender.address]
    argv += ["--mail-rcpt", post.here.address, "--mail-rcpt", post.there, "--upload-file", "message", url]
    run("curl", *argv)
    post.wait(1)
    assert post.arrived() == [message]
    # As somebody else: refused.
    run("curl", *[post.here.address if word == post.sender.address else word for word in argv], status=55)
    assert len(post.stored()) == 1


NEOMUTT = """
set smtp_url = "{scheme}://{user}@localhost:{port}/"
set smtp_pass = "{password}"
set certificate_file = "{crt}"
set ssl_force_tls = yes
set ssl_starttls = yes
set hostname = "client.test"
set from = "{address}"
set use_envelope_from = yes
set realname = "A Person"
set copy = no
set tmpdir = "{folder}"
set send_charset = "us-ascii:utf-8"
set allow_8bit = yes
set dsn_notify = "failure"
"""


@both
def test_neomutt_sends(tls: bool, post: Post, tmp_path: Path) -> None:
    require("neomutt")
    file = tmp_path / "neomuttrc"
    file.write_text(
        NEOMUTT.format(
            scheme="smtps" if tls else "smtp",
            port=post.server.submission_port(tls=tls),
            user=post.sender.address.replace("@", "%40"),
            address=post.sender.address,
            password=post.sender.password,
            crt=post.server.certificate,
            folder=tmp_path,
        )
    )
    (tmp_path / "file.bin").write_bytes(bytes(range(256)) * 2000)
    argv = ["neomutt", "-n", "-F", str(file), "-s", "from neomutt: Grüße", "-c", post.there]
    argv += ["-a", str(tmp_path / "file.bin"), "--", post.here.address]
    done = subprocess.run(
        argv,
        input=".\n..\nGrüße aus Köln\n.\n",
        env={**os.environ, "HOME": str(tmp_path), "TERM": "dumb", "LC_ALL": "C.UTF-8"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    post.wait(1)
    [octets] = post.arrived()
    assert b"\r\n\r\n.\r\n..\r\nGr\xc3\xbc\xc3\x9fe aus K\xc3\xb6ln\r\n.\r\n" in octets
    assert b"file.bin" in octets
    assert len(octets) > 600_000
