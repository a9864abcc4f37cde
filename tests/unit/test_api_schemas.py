"""Field types of API requests: what each accepts, and the message for what it does not."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator

from api.errors import FrameworkError, ValidationFailed
from api.paging import Paged, cursors, position
from api.permissions import ROLES, Permission, Reach, require
from api.reading import nest
from api.schemas import types
from api.schemas.authentication import Authenticate, PreAuth
from api.schemas.base import MOST_VIOLATIONS, Request, parse
from api.schemas.users import CreateUser, DeleteUser, ListUsers, OneUser, ResolveUser, UpdateUser
from duckmail.services.access import SERVER_ROLES


def _parse(kind: Any, value: object) -> object:
    class Model(Request):
        x: kind

    return parse(Model, {"x": value}).x  # type: ignore[attr-defined]


BOOLEAN = Annotated[bool, types.boolean()]
NUMBER = Annotated[int, types.number(0, 250)]
TEXT = Annotated[str, types.text(5)]
MOMENT = Annotated[datetime | None, types.moment()]
EMAIL = Annotated[str, types.email()]
TARGET = Annotated[str, types.target()]
OBJECT = Annotated[str, types.json_object(20)]
NAME = Annotated[str, types.username()]
SCOPES = Annotated[tuple[Annotated[str, types.one_of("a", "b")], ...], AfterValidator(types.unique)]
IDENTIFIER = Annotated[str, types.identifier()]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        *[
            pytest.param(BOOLEAN, value, True, id=f"true-{value!r}")
            for value in (True, 1, "YES", "on", "1", "y", "True")
        ],
        *[pytest.param(BOOLEAN, value, False, id=f"false-{value!r}") for value in (False, 0, "No", "off", "0", "n")],
        pytest.param(NUMBER, " 20 ", 20, id="number-trimmed"),
        pytest.param(NUMBER, "1e2", 100, id="number-exponent"),
        pytest.param(NUMBER, 2.9, 2, id="number-fraction-is-cut"),
        pytest.param(TEXT, "12345", "12345", id="text-most"),
        pytest.param(MOMENT, False, None, id="no-moment"),
        pytest.param(MOMENT, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), id="iso"),
        pytest.param(MOMENT, "2026-01-02", datetime(2026, 1, 2, tzinfo=UTC), id="iso-day"),
        pytest.param(MOMENT, 86_400_000, datetime(1970, 1, 2, tzinfo=UTC), id="milliseconds"),
        pytest.param(MOMENT, "86400000", datetime(1970, 1, 2, tzinfo=UTC), id="milliseconds-as-text"),
        pytest.param(EMAIL, "a.b+c@xn--e1afmkfd.example", "a.b+c@xn--e1afmkfd.example", id="email"),
        pytest.param(EMAIL, "õ*@пример.example", "õ*@пример.example", id="email-unicode-and-star"),
        pytest.param(TARGET, "smtps://mx.example.com:465", "smtps://mx.example.com:465", id="target-smtp"),
        pytest.param(TARGET, "a@example.com", "a@example.com", id="target-address"),
        pytest.param(OBJECT, '{"a": 1}', '{"a":1}', id="object-in-a-string"),
        pytest.param(OBJECT, {"$where": "."}, '{"$where":"."}', id="object"),
        pytest.param(NAME, "Anna.B-c_d=e:f@Host.x", "anna.b-c_d=e:f@host.x", id="username"),
        pytest.param(SCOPES, ["b", "a"], ("b", "a"), id="list"),
        pytest.param(IDENTIFIER, "ABCDEF" * 4, "abcdef" * 4, id="identifier"),
    ],
)
def test_accepted(kind: Any, value: object, expected: object) -> None:
    assert _parse(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "key", "message"),
    [
        *[
            pytest.param(BOOLEAN, value, "x", '"x" must be a boolean', id=f"boolean-{value!r}")
            for value in (None, 2, " true", "t", [], 0.5)
        ],
        *[
            pytest.param(NUMBER, value, "x", '"x" must be a number', id=f"number-{value!r}")
            for value in (None, "", True, "1x", "0x1", "\u0661", "nan", "1" * 40, [1])
        ],
        pytest.param(NUMBER, -1, "x", '"x" must be greater than or equal to 0', id="number-least"),
        pytest.param(NUMBER, "251", "x", '"x" must be less than or equal to 250', id="number-most"),
        pytest.param(Annotated[int, types.number()], 2**53, "x", '"x" must be a safe number', id="number-unsafe"),
        pytest.param(TEXT, None, "x", '"x" must be a string', id="text-null"),
        pytest.param(TEXT, 5, "x", '"x" must be a string', id="text-number"),
        pytest.param(TEXT, "", "x", '"x" is not allowed to be empty', id="text-empty"),
        pytest.param(TEXT, "123456", "x", '"x" length must be less than or equal to 5 characters long', id="text-long"),
        *[
            pytest.param(MOMENT, value, "x", '"x" must be a valid date', id=f"moment-{value!r}")
            for value in ("false", "", "2026-13-01", True, None, 1e30, "9" * 30, "tomorrow")
        ],
        *[
            pytest.param(EMAIL, value, "x", '"x" must be a valid email', id=f"email-{value!r}")
            for value in (
                "user@localhost", "a@b@c.example", '"a"@example.com', "a@[192.0.2.1]", "a..b@example.com",
                ".a@example.com",
                "a@-x.example", "a\r\n@example.com", "a b@example.com", "a@192.0.2.1", "@example.com",
                "a\u202e@example.com",
            )
        ],
        *[
            pytest.param(TARGET, value, "x", '"x" does not match any of the allowed types', id=f"target-{value!r}")
            for value in ("ftp://x.example", "smtp://", "smtp://[", "http://x.example:99999", "nobody", "http://a\nb.example")
        ],
        pytest.param(OBJECT, "[1]", "x", '"x" must be of type object', id="object-array"),
        pytest.param(OBJECT, "{", "x", '"x" value must be valid JSON object string', id="object-broken"),
        pytest.param(OBJECT, {"a": "b" * 20}, "x", '"x" must not be larger than 20 bytes', id="object-large"),
        pytest.param(SCOPES, "a", "x", '"x" must be an array', id="list-text"),
        pytest.param(SCOPES, ["a", "c"], "x,1", '"x[1]" must be one of [a, b]', id="list-item"),
        pytest.param(SCOPES, ["a", "a"], "x,1", '"x[1]" contains a duplicate value', id="list-twice"),
        pytest.param(IDENTIFIER, "0" * 25, "x", '"x" length must be 24 characters long', id="identifier-long"),
    ],
)  # fmt: skip
def test_refused(kind: Any, value: object, key: str, message: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        _parse(kind, value)
    assert caught.value.body["details"] == {key: message}


def test_a_label_in_the_clients_text_is_left_alone() -> None:
    with pytest.raises(ValidationFailed) as caught:
        _parse(NAME, "{label}")
    assert '"x" with value "{label}" fails' in str(caught.value.body["error"])


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([("a", "1")], {"a": "1"}, id="plain"),
        pytest.param([("or.from", "x"), ("or[to]", "y")], {"or": {"from": "x", "to": "y"}}, id="nested"),
        pytest.param([("a", "1"), ("a", "2"), ("a", "3")], {"a": ["1", "2", "3"]}, id="repeated"),
        pytest.param([("a[]", "1"), ("a[7]", "2")], {"a": ["1", "2"]}, id="indexed"),
        pytest.param([("a[b", "1")], {"a[b": "1"}, id="not-closed"),
        pytest.param([("[a]", "1")], {"[a]": "1"}, id="no-head"),
        pytest.param([("a.b.c.d.e.f", "1")], {"a.b.c.d.e.f": "1"}, id="too-deep"),
        pytest.param([("a", "1"), ("a[b]", "2")], {"a": "1"}, id="two-kinds"),
        pytest.param([("__class__.x", "1")], {"__class__": {"x": "1"}}, id="names-mean-nothing"),
    ],
)
def test_nested_keys(pairs: list[tuple[str, str]], expected: dict[str, object]) -> None:
    assert nest(pairs) == expected


def test_a_cursor_leads_to_where_it_was_made() -> None:
    ids = ["a" * 24, "b" * 24]
    made = cursors(3, ids, has_previous=True, has_next=True)
    forth = position(parse(Paged, {"next": made["nextCursor"], "previous": made["previousCursor"]}))
    assert (forth.after, forth.before, forth.page) == ("b" * 24, "", 4)
    back = position(parse(Paged, {"previous": made["previousCursor"]}))
    assert (back.after, back.before, back.page) == ("", "a" * 24, 2)
    # Without a page number, and as other servers of the contract write it.
    bare = position(parse(Paged, {"next": "eyIkb2lkIjoiYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhIn0"}))
    assert (bare.after, bare.page) == ("a" * 24, 1)


def test_roles_of_the_table_are_those_of_the_services() -> None:
    reaching_all = {role for role, rows in ROLES.items() if Reach.ANY in rows.values()}
    assert reaching_all == SERVER_ROLES
    assert all(Reach.ANY not in ROLES[role].values() for role in set(ROLES) - SERVER_ROLES)


@pytest.mark.parametrize("role", ["", "admin", "user", "auth", "audit"])
def test_what_is_not_in_the_table_is_refused(role: str) -> None:
    with pytest.raises(Exception, match="MissingPrivileges"):
        require(role, Permission("users", "delete", Reach.ANY))


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
_MODELS = (CreateUser, UpdateUser, ListUsers, OneUser, ResolveUser, DeleteUser, PreAuth, Authenticate)
_KEYS = sorted({info.alias or name for model in _MODELS for name, info in model.model_fields.items()})


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(_MODELS), st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=5), _json, max_size=12))
def test_no_input_raises_anything_else(model: type[Request], values: dict[str, object]) -> None:
    try:
        parse(model, values)
    except ValidationFailed as error:
        orjson.dumps(error.body)
        details = error.body["details"]
        assert isinstance(details, dict)
        assert 0 < len(details) <= MOST_VIOLATIONS


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.text(alphabet="abcdef0123456789-_W5", max_size=200))
def test_no_cursor_or_key_raises_anything_else(key: str, text: str) -> None:
    try:
        nest([(key, "x"), (key, "y")])
        position(parse(Paged, {"next": text}))
    except (ValidationFailed, FrameworkError):
        pass
