"""A real `duckmail serve` in a process of its own: config file, ports, accounts, clients, signals.

It listens on ports that it keeps over restarts. With `Databases` it works on
servers that run already; without, on its embedded ones, in its own data folder.
"""

import contextlib
import http.client
import imaplib
import json
import poplib
import re
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imapclient import IMAPClient

from tests.support.commands import Running, duckmail, start
from tests.support.net import client_context
from tests.support.ports import free_port

HOST = "127.0.0.1"
DOMAIN = "mail.test"
DUCKMAIL = [sys.executable, "-P", "-m", "duckmail.cli"]
READY = "duckmail is running"
START_SECONDS = 100.0
DRAIN_SECONDS = 60.0  # for a stop by SIGTERM: who waits for a client to go waits for ever
CLIENT_SECONDS = 60.0

# Label in the welcome text -> (section, key) of the configuration.
LISTENERS = {
    "IMAP, STARTTLS": ("imap", "listen"),
    "IMAP, TLS": ("imap", "listen_tls"),
    "POP3, STLS": ("pop3", "listen"),
    "POP3, TLS": ("pop3", "listen_tls"),
    "Submission, STARTTLS": ("submission", "listen"),
    "Submission, TLS": ("submission", "listen_tls"),
    "LMTP": ("lmtp", "listen"),
    "MX": ("mx", "listen"),
    "API": ("api", "listen"),
    "Metrics": ("metrics", "listen"),
}
Sections = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Databases:
    """Servers that run already, and names in them that nobody else uses."""

    mongo_uri: str
    name: str
    redis_url: str
    redis_prefix: str

    def sections(self) -> Sections:
        return {
            "mongo": {"uri": self.mongo_uri, "database": self.name},
            "redis": {"url": self.redis_url, "prefix": self.redis_prefix},
        }


@dataclass(frozen=True, slots=True)
class Account:
    """An account that can log in with its address."""

    id: str
    address: str
    password: str


class ServerProcess:
    """`with ServerProcess(folder, ...) as server`: running and ready; stopped at the end, which must be a clean stop.

    Args:
        sections: what the configuration holds beside listeners and databases; wins over both.
    """

    def __init__(self, folder: Path, databases: Databases | None = None, sections: Sections | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "var"
        self.file = folder / "duckmail.toml"
        self.log = folder / "log"
        self.printed = folder / "printed"
        self.process: Running | None = None
        self._addresses: dict[str, str] = {}
        self._sections: dict[str, dict[str, object]] = {
            "server": {"data": "var", "hostname": DOMAIN},
            "limits": {"received": 0},
        }
        for section, key in LISTENERS.values():
            if section != "mx":  # off by default, as for everybody
                self._sections.setdefault(section, {})[key] = [f"{HOST}:{free_port()}"]
        self.configure(databases.sections() if databases else {})
        self.configure(sections or {})

    # The process

    def configure(self, sections: Sections) -> None:
        """Changes the configuration file; in effect from the next start (some of it: from the next SIGHUP) on."""
        for section, values in sections.items():
            self._sections.setdefault(section, {}).update(values)
        # JSON's strings, numbers, booleans and lists are TOML's as well.
        self.file.write_text(
            "".join(
                f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
                for section, values in self._sections.items()
            )
        )

    def start(self, *argv: str) -> str:
        """Starts it and waits until it is ready; gives what it printed."""
        assert self.process is None, "runs already"
        self.printed.write_bytes(b"")
        self.process = start("serve", "--config", str(self.file), *argv, printed=self.printed, log=self.log)
        try:
            wait_until(lambda: READY in self.welcome or not self.running, START_SECONDS, "the server to be ready")
            assert self.running, self.log.read_text()[-4000:]
        except BaseException:
            self.kill()
            raise
        self._keep_ports()
        return self.welcome

    def _keep_ports(self) -> None:
        text = self.welcome
        for label, (section, key) in LISTENERS.items():
            found = re.search(rf"^ +{label} +(\S+)$", text, re.MULTILINE)
            if found and self._sections.get(section, {}).get(key) == [f"{HOST}:0"]:
                self.configure({section: {key: [found[1]]}})
            if found:
                self._addresses[label] = found[1]

    @property
    def welcome(self) -> str:
        """What it has printed since it was started."""
        return self.printed.read_text()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> float:
        """SIGTERM; gives the seconds it took to end. Status 0, in time, no error and no task left behind: else an
        assertion fails."""
        begun = time.monotonic()
        self.send(signal.SIGTERM)
        return self.ended(begun)

    def ended(self, begun: float) -> float:
        """Waits for the end of a stop that began at `begun` (monotonic)."""
        assert self.process is not None
        try:
            status = self.process.wait(max(0.0, begun + DRAIN_SECONDS - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        took = time.monotonic() - begun
        self.process = None
        assert status == 0, self.log.read_text()[-4000:]
        wrong = [line for line in self.log_lines() if line["level"] == "error" or "did not end" in line["message"]]
        assert wrong == []
        return took

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def __enter__(self) -> "ServerProcess":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.process is not None and kind is None:
            self.stop()
        self.kill()

    def log_lines(self) -> list[dict[str, Any]]:
        """Every line of the log of all its starts; each must be JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def children(self) -> list[int]:
        """Process ids of the servers it started."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    # Its doors

    def port(self, label: str) -> int:
        """Of the listener with this label in the welcome text."""
        return int(self._addresses[label].rpartition(":")[2])

    @property
    def imap_port(self) -> int:
        return self.port("IMAP, STARTTLS")

    @property
    def imaps_port(self) -> int:
        return self.port("IMAP, TLS")

    @property
    def lmtp_port(self) -> int:
        return self.port("LMTP")

    def pop3_port(self, *, tls: bool) -> int:
        """`tls`: from the first octet; else STLS is offered."""
        return self.port("POP3, TLS" if tls else "POP3, STLS")

    def submission_port(self, *, tls: bool) -> int:
        """`tls`: from the first octet; else STARTTLS is offered."""
        return self.port("Submission, TLS" if tls else "Submission, STARTTLS")

    @property
    def certificate(self) -> Path:
        """What its clients have to trust; for the name `localhost`, among others."""
        return self.data / "tls/self-signed.crt"

    @contextlib.contextmanager
    def imap(self, account: Account) -> Iterator[IMAPClient]:
        """A session over TLS, logged in."""
        with IMAPClient(HOST, self.imaps_port, ssl_context=client_context(), timeout=CLIENT_SECONDS) as client:
            client.login(account.address, account.password)
            yield client

    @contextlib.contextmanager
    def starttls(self, account: Account) -> Iterator[imaplib.IMAP4]:
        """A session of the standard library's client, logged in after STARTTLS."""
        with imaplib.IMAP4(HOST, self.imap_port, timeout=CLIENT_SECONDS) as client:
            client.starttls(client_context())
            client.login(account.address, account.password)
            yield client

    @contextlib.contextmanager
    def pop3(self, account: Account) -> Iterator[poplib.POP3_SSL]:
        """A session over TLS, logged in. Its end without QUIT changes nothing."""
        port = self.pop3_port(tls=True)
        client = poplib.POP3_SSL(HOST, port, context=client_context(), timeout=CLIENT_SECONDS)
        with contextlib.closing(client):
            client.user(account.address)
            client.pass_(account.password)
            yield client

    @contextlib.contextmanager
    def submission(self, account: Account) -> Iterator[smtplib.SMTP_SSL]:
        """A session over TLS, logged in."""
        with smtplib.SMTP_SSL(
            HOST,
            self.submission_port(tls=True),
            local_hostname="client.test",
            context=client_context(),
            timeout=CLIENT_SECONDS,
        ) as client:
            client.login(account.address, account.password)
            yield client

    def submit(self, account: Account, message: bytes, *recipients: str, **options: Sequence[str]) -> str:
        """Sends as the account's own address; every recipient and the message must be accepted. Its id in the queue.

        `options`: `mail_options`, `rcpt_options` of smtplib.
        """
        with self.submission(account) as client:
            return submit(client, account.address, message, *recipients, **options)

    @contextlib.contextmanager
    def lmtp(self) -> Iterator[smtplib.LMTP]:
        """A connection that has said LHLO."""
        with smtplib.LMTP(HOST, self.lmtp_port, local_hostname="relay.test", timeout=CLIENT_SECONDS) as client:
            client.ehlo()
            yield client

    def deliver(self, message: bytes, *recipients: str, sender: str = "sender@example.org") -> None:
        """By LMTP; every recipient must be accepted."""
        with self.lmtp() as client:
            assert all(code == 250 for code, _ in deliver(client, message, *recipients, sender=sender))

    def api(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """A request with the token that may do everything; it must succeed."""
        connection = http.client.HTTPConnection(HOST, self.port("API"), timeout=CLIENT_SECONDS)
        headers = {"X-Access-Token": (self.data / "api-token").read_text().strip(), "Content-Type": "application/json"}
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        assert answer.get("success"), answer
        return answer

    def add_account(self, name: str, *, quota: int = 0, **more: object) -> Account:
        """`quota`: octets, 0 for the server's. `more`: attributes of the API."""
        address, password = f"{name}@{DOMAIN}", f"{name}-Pass-Word"
        body: dict[str, object] = {"username": address, "address": address, "password": password, **more}
        if quota:
            body["quota"] = quota
        return Account(str(self.api("POST", "/users", body)["id"]), address, password)

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Another `duckmail` command with the same configuration."""
        return duckmail(*argv, "--config", str(self.file), stdin=stdin)

    def messages(self, account: Account, mailbox: str = "INBOX") -> list[bytes]:
        """All of a mailbox, octet for octet, by UID; nothing is marked as read."""
        with self.imap(account) as client:
            client.select_folder(mailbox, readonly=True)
            uids = client.search()
            fetched = client.fetch(uids, ["BODY.PEEK[]"]) if uids else {}
        return [fetched[uid][b"BODY[]"] for uid in sorted(uids)]


def deliver(
    client: smtplib.LMTP, message: bytes, *recipients: str, sender: str = "sender@example.org"
) -> list[tuple[int, bytes]]:
    """One transaction; the replies after the data, one for each recipient (smtplib itself reads but one)."""
    replies = [client.mail(sender), *(client.rcpt(recipient) for recipient in recipients), client.docmd("DATA")]
    assert [code for code, _ in replies] == [*[250] * (1 + len(recipients)), 354], replies
    stuffed = re.sub(rb"(?m)^\.", b"..", message)
    client.send(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
    return [client.getreply() for _ in recipients]


def submit(
    client: smtplib.SMTP,
    sender: str,
    message: bytes,
    *recipients: str,
    mail_options: Sequence[str] = (),
    rcpt_options: Sequence[str] = (),
) -> str:
    """One transaction by DATA, octet for octet; the id that the answer names."""
    replies = [client.mail(sender, mail_options), *(client.rcpt(each, rcpt_options) for each in recipients)]
    assert [code for code, _ in replies] == [250] * (1 + len(recipients)), replies
    code, said = client.data(message)
    found = re.fullmatch(rb"2\.0\.0 OK queued as ([0-9a-f]{24})", said)
    assert code == 250, said
    assert found, said
    return found[1].decode()


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Looks until `condition` holds; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def make_message(subject: str, body: str = "Hello", *, sender: str = "sender@example.org", to: str = "") -> bytes:
    """A small ordinary message with CRLF line ends and a Message-ID made of its subject."""
    name = re.sub(r"\W+", "-", subject)
    lines = [
        f"From: Sender <{sender}>",
        f"To: {to or 'undisclosed-recipients:;'}",
        f"Subject: {subject}",
        "Date: Mon, 02 Nov 2026 10:00:00 +0100",
        f"Message-ID: <{name}@example.org>",
        "",
        *body.splitlines(),
    ]
    return "".join(line + "\r\n" for line in lines).encode()
