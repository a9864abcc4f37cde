"""The tables: commands, capabilities, answers to errors."""

import pytest

from duckmail import errors
from protocols.imap import capabilities, registry
from protocols.imap.command import Trait
from protocols.imap.reply import failure


def test_the_table_is_complete() -> None:
    assert len(registry.commands()) == len(registry.COMMANDS)


def test_no_start_with_a_capability_without_its_command() -> None:
    names = [command.name for command in registry.COMMANDS if command.name != "UID MOVE"]
    with pytest.raises(LookupError, match=r"IMAP4rev2 is announced without UID MOVE"):
        capabilities.check(names)


def test_no_start_with_a_command_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "COMMANDS", (*registry.COMMANDS, registry.NOOP))
    with pytest.raises(LookupError):
        registry.commands()


def test_commands_that_must_not_carry_expunge() -> None:
    """RFC 3501 §7.4.1, RFC 5256 §3, §4: FETCH, STORE, SEARCH, SORT and THREAD, but not their UID forms."""
    assert {command.name for command in registry.COMMANDS if Trait.NO_EXPUNGE in command.traits} == {
        "FETCH",
        "STORE",
        "SEARCH",
        "SORT",
        "THREAD",
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(errors.NotFound(), "NONEXISTENT", id="not-found"),
        pytest.param(errors.AlreadyExists(), "ALREADYEXISTS", id="exists"),
        pytest.param(errors.OverQuota(), "OVERQUOTA", id="quota"),
        pytest.param(errors.LimitReached(), "LIMIT", id="limit"),
        pytest.param(errors.Cannot(), "CANNOT", id="cannot"),
        pytest.param(errors.InvalidInput(), "CANNOT", id="invalid"),
        pytest.param(errors.NotPermitted(), "NOPERM", id="permission"),
        pytest.param(errors.AuthenticationFailed(), "AUTHENTICATIONFAILED", id="password"),
        pytest.param(errors.AccountDisabled(), "CONTACTADMIN", id="scope"),
        pytest.param(errors.RateLimited(), "UNAVAILABLE", id="throttled-is-temporary"),
        pytest.param(errors.Unavailable(), "UNAVAILABLE", id="database-down"),
        pytest.param(errors.Corrupted(), "CORRUPTION", id="damaged"),
        pytest.param(errors.TooLarge(), "TOOBIG", id="size"),
        pytest.param(errors.InUse(), "INUSE", id="in-use-is-not-the-temporary-default"),
        pytest.param(errors.ReadOnly(), "READ-ONLY", id="read-only"),
        pytest.param(errors.DuckmailError(), "", id="anything-else"),
    ],
)
def test_errors(error: errors.DuckmailError, code: str) -> None:
    reply = failure(error)
    assert (reply.status, reply.code, reply.text) == ("NO", code, error.text)


def test_a_missing_target_asks_for_create() -> None:
    assert failure(errors.NotFound(), try_create=True).code == "TRYCREATE"
    assert failure(errors.OverQuota(), try_create=True).code == "OVERQUOTA"


def test_no_capability_is_announced_twice() -> None:
    names = [capability.name for capability in capabilities.CAPABILITIES]
    assert len(names) == len(set(names))
