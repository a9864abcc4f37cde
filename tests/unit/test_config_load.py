import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckmail.config.document import MASK, generate, show
from duckmail.config.load import ConfigError, load, parse
from duckmail.config.schema import Config
from duckmail.config.units import parse_duration, parse_size, quoted, write_duration, write_size

ROOT = Path(__file__).parents[2]
HERE = Path("/etc/duckmail")


def mistakes(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x.toml", HERE)
    assert all(line.startswith("x.toml: ") for line in caught.value.text.splitlines())
    return {mistake.key: mistake.text for mistake in caught.value.mistakes}


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        pytest.param(
            '[imap]\nlistn = ["127.0.0.1:1"]', "imap.listn", "unknown key, did you mean listen?", id="typo-in-key"
        ),
        pytest.param("[imapp]", "imapp", "unknown section, did you mean imap?", id="typo-in-section"),
        pytest.param(
            "[imap]\nmessage_size = 1", "imap.message_size", "did you mean limits.message_size?", id="other-section"
        ),
        pytest.param("[imap]\nqqqqq = 1", "imap.qqqqq", "unknown key", id="nothing-near"),
        pytest.param('[imap]\nstarttls = "yes"', "imap.starttls", "true or false", id="string-for-boolean"),
        pytest.param("[imap]\nstarttls = 1", "imap.starttls", "true or false", id="number-for-boolean"),
        pytest.param('imap = "on"', "imap", "must be a table", id="string-for-table"),
        pytest.param('[imap]\nlisten = "127.0.0.1:143"', "imap.listen", "must be a list", id="string-for-list"),
        pytest.param('[imap]\nlisten = ["127.0.0.1"]', "imap.listen.0", '"host:port"', id="no-port"),
        pytest.param(
            '[imap]\nlisten = ["127.0.0.1:1", "h:99999"]', "imap.listen.1", '"host:port"', id="port-too-large"
        ),
        pytest.param('[imap]\nlisten = ["unix:run/x"]', "imap.listen.0", '"unix:/path"', id="relative-socket"),
        pytest.param('[imap]\nlisten = ["*:143"]', "imap.listen.0", '"host:port"', id="star-for-host"),
        pytest.param('[lmtp]\nlisten = ["unix:/x,mode=9"]', "lmtp.listen.0", "mode=0660", id="socket-mode"),
        pytest.param('[lmtp]\npeers = ["10.0.0.1/8"]', "lmtp.peers.0", "host bits set", id="not-a-network"),
        pytest.param('[limits]\nmessage_size = "64 megs"', "limits.message_size", "units: B, KiB", id="unknown-unit"),
        pytest.param("[limits]\nmessage_size = 5", "limits.message_size", "at least 1048576", id="below-range"),
        pytest.param("[limits]\nconnections = -1", "limits.connections", "at least 0", id="negative"),
        pytest.param("[limits]\nconnections = 1.5", "limits.connections", "whole number", id="fraction"),
        pytest.param("[limits]\nconnections = true", "limits.connections", "whole number", id="boolean-for-number"),
        pytest.param("[imap]\nlogin_timeout = true", "imap.login_timeout", "must be a time", id="boolean-for-time"),
        pytest.param('[imap]\nlogin_timeout = "2 d"', "imap.login_timeout", "at most 3600", id="time-above-range"),
        pytest.param('[log]\nlevel = "loud"', "log.level", "'debug'", id="not-a-choice"),
        pytest.param('[tls]\nkey = "k.pem"', "tls", "belong together", id="key-without-certificate"),
        pytest.param(
            '[limits]\noctet_budget = "1 MiB"', "limits", "at least message_size", id="budget-below-one-message"
        ),
        pytest.param('[mongo]\ndatabase = "a b"', "mongo.database", "must match", id="database-name"),
        pytest.param("[mongo]\nuri = 5", "mongo.uri", "must be a string", id="secret-not-a-string"),
        pytest.param('[server]\nhostname = "a b"', "server.hostname", "host name", id="hostname"),
        pytest.param("[imap", "", "not valid TOML", id="broken-toml"),
    ],
)
def test_a_mistake_is_named_with_its_key(text: str, key: str, said: str) -> None:
    found = mistakes(text)
    assert list(found) == [key]
    assert said in found[key]


def test_all_mistakes_are_reported_at_once() -> None:
    text = 'imap.listen = ["x", "y"]\nlmtp.enabled = "no"\nlimits.per_user = -1\nredi.url = ""\nlog.level = 1'
    assert set(mistakes(text)) == {
        "imap.listen.0",
        "imap.listen.1",
        "lmtp.enabled",
        "limits.per_user",
        "redi",
        "log.level",
    }


def test_secrets_are_in_no_repr_error_or_printout() -> None:
    text = '[mongo]\nuri = "mongodb://u:geheim@h/"\n[redis]\nurl = "redis://:geheim@h/"\n[api]\ntoken = "geheim"\n'
    config = parse(text, "x.toml", HERE)
    assert "geheim" not in repr(config)
    assert "geheim" not in show(config)
    assert show(config).count(MASK) == 3
    assert config.mongo.uri.get_secret_value() == "mongodb://u:geheim@h/"
    assert "geheim" not in repr(mistakes(text + "nonsense = 1\n")), "errors show keys, not values"
    assert "geheim" not in repr(mistakes('[mongo]\nuri = ["geheim"]'))


def test_relative_paths_are_seen_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "d.toml").write_text('[tls]\ncertificate = "c.pem"\nkey = "/abs/k.pem"\n[server]\ndata = "data"\n')
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/d.toml"))
    assert (config.tls.certificate, config.tls.key) == (folder / "c.pem", Path("/abs/k.pem"))
    assert config.server.data == folder / "data"
    assert load(Path("etc/d.toml"), Path("other")).server.data == tmp_path / "other"
    assert load(None).server.data == tmp_path / "var"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param(b"\xff", "not UTF-8", id="not-utf8"),
        pytest.param(b"#" * (1 << 20) + b"##", "larger than 1 MiB", id="too-large"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "d.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load(file)


@pytest.mark.parametrize(
    ("text", "embedded_mongo", "embedded_redis", "redis_url"),
    [
        pytest.param("", True, True, "", id="nothing-configured"),
        pytest.param('mongo.uri = "mongodb://h"', False, False, "", id="mongo-alone-does-without-redis"),
        pytest.param('redis.url = "redis://h"', True, False, "redis://h", id="redis-alone"),
        pytest.param('redis.url = "none"', True, False, "", id="no-redis-at-all"),
    ],
)
def test_which_servers_are_embedded(text: str, embedded_mongo: bool, embedded_redis: bool, redis_url: str) -> None:
    config = parse(text, "x.toml", HERE)
    assert (config.embedded_mongo, config.embedded_redis, config.redis_url) == (
        embedded_mongo,
        embedded_redis,
        redis_url,
    )


def test_generated_file_holds_every_key_and_changes_nothing() -> None:
    text = generate()
    assert parse(text, "x.toml", HERE) == Config()
    setting = re.compile(r'# (?=[a-z0-9_]+ = |  "|\]$)')  # the first line of a setting, or another one of a long list
    uncommented = "\n".join(setting.sub("", line, count=1) for line in text.splitlines())
    written = tomllib.loads("\n".join(line for line in uncommented.splitlines() if not line.startswith("#")))
    for name in Config.model_fields:
        section = getattr(Config(), name)
        assert set(written[name]) == set(type(section).model_fields)
        assert all(field.description for field in type(section).model_fields.values())
    assert "typing." not in text
    assert "<class" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_shown_configuration_reads_back_as_itself() -> None:
    text = """
imap.login_timeout = 61.5
limits.message_size = 1048577
lmtp.listen = ["unix:/a b,mode=0666,group=mail"]
server.hostname = "a.b"
"""
    config = parse(text, "x.toml", HERE)
    assert parse(show(config), "y.toml", HERE) == config.model_copy(
        update={"server": config.server.model_copy(update={"data": HERE / "var"})}
    )


@pytest.mark.parametrize("name", ["duckmail.toml", "minimal.toml"])
def test_files_that_come_along_have_no_mistake(name: str) -> None:
    load(ROOT / "config" / name)


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        pytest.param("64 MiB", 67108864, id="binary"),
        pytest.param("64MiB", 67108864, id="no-space"),
        pytest.param("1.5 GB", 1500000000, id="decimal"),
        pytest.param("12", 12, id="text-without-unit"),
        pytest.param(12, 12, id="number"),
    ],
)
def test_sizes(value: object, octets: int) -> None:
    assert parse_size(value) == octets


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("30 min", 1800.0, id="minutes"),
        pytest.param("250 ms", 0.25, id="milliseconds"),
        pytest.param("1.5 h", 5400.0, id="fraction"),
        pytest.param(3, 3.0, id="number"),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds


@given(st.integers(0, 1 << 45))
def test_written_sizes_read_back(octets: int) -> None:
    assert parse_size(tomllib.loads(f"x = {write_size(octets)}")["x"]) == octets


@given(st.integers(0, 10**7).map(lambda number: number / 8))
def test_written_durations_read_back(seconds: float) -> None:
    assert parse_duration(tomllib.loads(f"x = {write_duration(seconds)}")["x"]) == seconds


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoted_strings_read_back(text: str) -> None:
    assert tomllib.loads(f"x = {quoted(text)}")["x"] == text
