"""`duckmail doctor` against a real server: what is well, and what it says of things that are not."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from duckmail.cli.firststart import self_signed
from duckmail.cli.probes import ProbeError, days_left
from tests.support.server_process import Account, Databases, ServerProcess

STEPS = (
    "MongoDB", "clock", "schema", "Redis", "database writes", "IMAP on", "IMAP, TLS on", "LMTP on", "MX on",
    "certificate",
    "delivered", "pushed", "read, TLS", "read, STARTTLS", "API",
)  # fmt: skip

MX = {"mx": {"listen": ["127.0.0.1:0"]}}


@pytest.fixture(scope="module")
def server(mongo_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    databases = Databases(mongo_uri, "t_cli_doctor", redis_url, "t_cli_doctor:")
    with ServerProcess(tmp_path_factory.mktemp("doctor"), databases, MX) as running:
        yield running


@pytest.fixture(scope="module")
def anna(server: ServerProcess) -> Account:
    return server.add_account("anna")


def steps(text: str) -> dict[str, str]:
    """Step -> OK, WARN or FAIL."""
    return {line[6:].partition(":")[0]: line[:4].strip() for line in text.splitlines() if line[4:6] == "  "}


def test_a_well_server_passes_every_step(server: ServerProcess) -> None:
    found = server.run("doctor")
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
    words = steps(found.stdout)
    for step in (*STEPS, "account made", "account removed"):
        assert [word for name, word in words.items() if name.startswith(step)] == ["OK"], (step, found.stdout)
    assert words["postmaster"] == "WARN"
    assert "nobody is postmaster@mail.test" in found.stdout
    assert found.stdout.endswith("all is well\n")
    assert "doctor-" not in server.run("user", "list").stdout


def test_an_account_of_ones_own_is_left_as_it_was(server: ServerProcess, anna: Account) -> None:
    found = server.run("doctor", "--account", anna.address, stdin=f"{anna.password}\n")
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
    assert "OK    message removed: expunged" in found.stdout
    assert "account made" not in found.stdout
    assert anna.password not in found.stdout
    assert server.messages(anna) == []


def test_a_wrong_password_fails_the_reading(server: ServerProcess, anna: Account) -> None:
    found = server.run("doctor", "--account", anna.address, stdin="wrong one\n")
    assert found.returncode == 1
    words = steps(found.stdout)
    assert (words["delivered"], words["read, TLS"], words["read, STARTTLS"]) == ("OK", "FAIL", "FAIL")
    assert "wrong one" not in found.stdout + found.stderr + server.log.read_text()


@pytest.mark.parametrize(
    ("argv", "stdin", "said"),
    [
        pytest.param(["--account", "nobody"], "x\n", "There is no account nobody", id="unknown-account"),
        pytest.param(["--account", "anna"], "\n", "No password was given", id="empty-password"),
    ],
)
def test_what_cannot_be_examined_is_one_line(server: ServerProcess, argv: list[str], stdin: str, said: str) -> None:
    found = server.run("doctor", *argv, stdin=stdin)
    assert found.returncode == 1
    assert found.stderr.startswith(f"duckmail: {said}")
    assert found.stderr.count("\n") == 1


def test_a_certificate_that_was_not_reloaded_is_told(server: ServerProcess, tmp_path: Path) -> None:
    key, crt = self_signed("mail.test", datetime.now(UTC))
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "crt").write_bytes(crt)
    before = server.file.read_text()
    server.configure({"tls": {"certificate": str(tmp_path / "crt"), "key": str(tmp_path / "key")}})
    try:
        found = server.run("doctor")
    finally:
        server.file.write_text(before)
    assert found.returncode == 0
    assert "WARN  certificate: the server shows another one than" in found.stdout


def test_listeners_behind_a_proxy_are_left_out(server: ServerProcess) -> None:
    before = server.file.read_text()
    server.configure({"proxy": {"peers": ["127.0.0.0/8"]}})
    try:
        found = server.run("doctor")
    finally:
        server.file.write_text(before)
    assert found.returncode == 0
    assert "WARN  mail listeners: not looked at" in found.stdout
    assert "delivered" not in found.stdout


@pytest.mark.parametrize(
    ("offset", "said"),
    [
        pytest.param(timedelta(days=-1000), "expired on", id="expired"),
        pytest.param(timedelta(days=2), "not valid before", id="not-yet"),
    ],
)
def test_certificates_out_of_their_time(offset: timedelta, said: str) -> None:
    _, pem = self_signed("mail.test", datetime.now(UTC) + offset)
    with pytest.raises(ProbeError, match=said):
        days_left(x509.load_pem_x509_certificate(pem))
