import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from duckmail.cli import firststart
from duckmail.config.load import load, parse
from duckmail.config.schema import Config
from duckmail.services.access import SYSTEM
from duckmail.services.users import NewUser
from tests.support.accounts import Accounts, open_accounts


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(None, tmp_path / "var")


@pytest.fixture
async def accounts(mongo_uri: str, database_name: str) -> AsyncIterator[Accounts]:
    async with open_accounts(mongo_uri, database_name) as opened:
        yield opened


async def test_demo_account_is_made_once_and_its_password_works(config: Config, accounts: Accounts) -> None:
    first = await firststart.demo_account(config, accounts.users)
    second = await firststart.demo_account(config, accounts.users)
    assert first is not None
    assert second is not None
    assert (first.password.fresh, second.password.fresh) == (True, False)
    assert first.password.text == second.password.text
    user = await accounts.users.sign_in_name("demo")
    assert user is not None
    assert (await accounts.passwords.verify(first.password.text, user.password_hash)).right
    assert (config.server.data / "demo-account").stat().st_mode & 0o777 == 0o600


async def test_demo_account_that_was_removed_stays_removed(config: Config, accounts: Accounts) -> None:
    await firststart.demo_account(config, accounts.users)
    user = await accounts.users.sign_in_name("demo")
    assert user is not None
    await accounts.users.delete(user.id, SYSTEM)
    assert await firststart.demo_account(config, accounts.users) is None
    assert await accounts.users.sign_in_name("demo") is None


async def test_somebody_elses_demo_account_is_left_alone(config: Config, accounts: Accounts) -> None:
    await accounts.users.create(NewUser(username="demo", password="mine"), SYSTEM)
    assert await firststart.demo_account(config, accounts.users) is None
    assert not (config.server.data / "demo-account").exists()


@pytest.mark.parametrize("made", [pytest.param(False, id="before-it-was-made"), pytest.param(True, id="after")])
async def test_an_interrupted_first_start_is_finished(config: Config, accounts: Accounts, made: bool) -> None:
    config.server.data.mkdir()
    firststart.write_private(config.server.data / ".demo-account", b"drafted\n")
    if made:
        await accounts.users.create(NewUser(username="demo", password="drafted"), SYSTEM)
    demo = await firststart.demo_account(config, accounts.users)
    assert demo is not None
    assert (demo.password.text, demo.password.fresh) == ("drafted", True)
    user = await accounts.users.sign_in_name("demo")
    assert user is not None
    assert (await accounts.passwords.verify("drafted", user.password_hash)).right


def test_certificate_is_made_once_private_and_usable(config: Config) -> None:
    crt, key = firststart.certificate(config, "mail.test")
    assert (crt.stat().st_mode & 0o777, key.stat().st_mode & 0o777) == (0o600, 0o600)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(crt, key)
    found = x509.load_pem_x509_certificate(crt.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "mail.test"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    before = crt.read_bytes()
    assert firststart.certificate(config, "mail.test") == (crt, key)
    assert crt.read_bytes() == before


@pytest.mark.parametrize(
    "age", [pytest.param(timedelta(days=800), id="near-its-end"), pytest.param(timedelta(days=2000), id="expired")]
)
def test_certificate_is_made_again_when_it_ends(config: Config, age: timedelta) -> None:
    crt, key = firststart.certificate(config, "mail.test")
    old_key, old_crt = firststart.self_signed("mail.test", datetime.now(UTC) - age)
    crt.write_bytes(old_crt)
    key.write_bytes(old_key)
    firststart.certificate(config, "mail.test")
    assert crt.read_bytes() != old_crt


def test_broken_certificate_is_made_again(config: Config) -> None:
    crt, _ = firststart.certificate(config, "mail.test")
    crt.write_text("nonsense")
    firststart.certificate(config, "mail.test")
    assert b"BEGIN CERTIFICATE" in crt.read_bytes()


def test_configured_certificate_is_taken_as_it_is(tmp_path: Path) -> None:
    config = parse('[tls]\ncertificate = "c.pem"\nkey = "k.pem"', "x", tmp_path)
    assert firststart.certificate(config, "mail.test") == (tmp_path / "c.pem", tmp_path / "k.pem")


def test_long_host_names_fit_into_a_certificate() -> None:
    _, crt = firststart.self_signed("a" * 60 + ".example.com", datetime.now(UTC))
    assert x509.load_pem_x509_certificate(crt)


def test_token_is_made_once_and_shown_once(config: Config) -> None:
    first, second = firststart.api_token(config), firststart.api_token(config)
    assert first is not None
    assert second is not None
    assert first.text == second.text
    assert len(first.text) == 40
    assert (first.shown(), second.shown()) == (first.text, f"see {config.server.data / 'api-token'}")


def test_configured_token_and_none(tmp_path: Path) -> None:
    configured = firststart.api_token(parse('[api]\ntoken = "abc"\n', "x", tmp_path))
    assert configured is not None
    assert (configured.text, configured.file) == ("abc", None)
    assert firststart.api_token(parse("[api]\naccess_control = false\n", "x", tmp_path)) is None


def test_private_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(firststart.FirstStartError, match=r"x/y cannot be written: No such file or directory$"):
        firststart.write_private(tmp_path / "x" / "y", b"")
