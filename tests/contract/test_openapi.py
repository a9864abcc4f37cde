"""Our OpenAPI against the contract: no operation, parameter, field or type of it is missing but for listed rows."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import orjson
import pytest

from api.app import ROUTES
from api.openapi.document import document
from api.openapi.operations import OPERATIONS
from tests.contract.schema import CONTRACT, Mismatch, load_deviations
from tests.support.api import Api

OURS: dict[str, Any] = orjson.loads(orjson.dumps(document(ROUTES)))
ANY = frozenset({"object", "array", "string", "boolean", "number", "null"})
_REQUEST = "request"  # the first step of places in a request


def _operations(root: dict[str, Any]) -> dict[str, Any]:
    return {f"{method.upper()} {path}": row for path, rows in root["paths"].items() for method, row in rows.items()}


THEIRS, ROUTED = _operations(CONTRACT), _operations(OURS)
BOTH = sorted(set(THEIRS) & set(ROUTED))
DEVIATIONS = load_deviations(tables=("deviation", "described"))


class Schema:
    """A schema of a document, with references and choices resolved: its types, fields and items."""

    def __init__(self, root: dict[str, Any], *parts: dict[str, Any]) -> None:
        self.root = root
        self.parts = [leaf for part in parts for leaf in self._leaves(part)]

    def _leaves(self, part: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "$ref" in part:
            yield from self._leaves(self.root["components"]["schemas"][part["$ref"].rpartition("/")[2]])
            return
        choices = part.get("oneOf") or part.get("anyOf")
        if choices and "type" not in part:
            for choice in choices:
                yield from self._leaves(choice)
            return
        yield part

    @property
    def types(self) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        for part in self.parts:
            # `format: any` is how the contract's generator writes what has no type.
            named = part.get("type", "object" if "properties" in part else "")
            loose = not named or (part.get("format") == "any" and "enum" in part)
            found |= ANY if loose else {"number" if named == "integer" else named}
        return found

    @property
    def fields(self) -> dict[str, "Schema"]:
        found: dict[str, list[dict[str, Any]]] = {}
        for part in self.parts:
            for name, inner in part.get("properties", {}).items():
                found.setdefault(name, []).append(inner)
        return {name: Schema(self.root, *inner) for name, inner in found.items()}

    @property
    def needed(self) -> set[str]:
        return {name for part in self.parts for name in part.get("required", ())}

    @property
    def items(self) -> "Schema | None":
        inner = [part["items"] for part in self.parts if "items" in part]
        return Schema(self.root, *inner) if inner else None


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _missing(theirs: Schema, ours: Schema, at: str) -> Iterator[Mismatch]:
    """Types and fields that requests of the contract have and ours do not take."""
    for kind in theirs.types - ours.types if theirs.types != ANY else ():
        yield Mismatch(at, kind)
    for name, inner in theirs.fields.items():
        if name not in ours.fields:
            yield Mismatch(_below(at, name), "absent")
        else:
            yield from _missing(inner, ours.fields[name], _below(at, name))
    if theirs.items and ours.items:
        yield from _missing(theirs.items, ours.items, f"{at}[]")


def _different(theirs: Schema, ours: Schema, at: str = "") -> Iterator[Mismatch]:
    """Where answers of ours lack what the contract says, or have another type."""
    if theirs.types != ANY:
        for kind in ours.types - theirs.types:
            yield Mismatch(at, kind)
        if not ours.types - theirs.types:
            for kind in theirs.types - ours.types:
                yield Mismatch(at, f"no {kind}")
        if not ours.types & theirs.types:
            return
    for name, inner in theirs.fields.items():
        if name not in ours.fields or (name in theirs.needed and name not in ours.needed):
            yield Mismatch(_below(at, name), "absent")
        if name in ours.fields:
            yield from _different(inner, ours.fields[name], _below(at, name))
    if theirs.items and ours.items:
        yield from _different(theirs.items, ours.items, f"{at}[]")


def _unlisted(operation: str, found: set[Mismatch]) -> set[Mismatch]:
    rows = [row for name, row in DEVIATIONS if name == operation]
    return {
        one
        for one in found
        if not any(row.found == one.found and fnmatchcase(one.at, row.at.replace("[", "[[]")) for row in rows)
    }


def test_every_operation_of_the_contract_is_routed() -> None:
    assert set(THEIRS) - set(ROUTED) == set()


def test_every_answer_is_of_an_operation_of_the_contract() -> None:
    assert set(OPERATIONS) == set(THEIRS)
    assert {key: (row["tags"], row["operationId"]) for key, row in ROUTED.items() if key in THEIRS} == {
        key: (row["tags"], row["operationId"]) for key, row in THEIRS.items() if key in ROUTED
    }


@pytest.mark.parametrize("operation", BOTH)
def test_requests_take_what_the_contract_has(operation: str) -> None:
    theirs, ours = THEIRS[operation], ROUTED[operation]
    found: set[Mismatch] = set()
    taken = {(row["name"], row["in"]): row["schema"] for row in ours["parameters"]}
    for row in theirs.get("parameters", []):
        key = row["name"], row["in"]
        if key not in taken:
            found.add(Mismatch(f"{_REQUEST}.{row['name']}", "absent"))
        elif row["in"] == "query":
            found |= set(
                _missing(Schema(CONTRACT, row["schema"]), Schema(OURS, taken[key]), f"{_REQUEST}.{row['name']}")
            )
    for media, content in theirs.get("requestBody", {}).get("content", {}).items():
        schema = ours.get("requestBody", {}).get("content", {}).get(media, {}).get("schema", {"type": "object"})
        found |= set(_missing(Schema(CONTRACT, content["schema"]), Schema(OURS, schema), _REQUEST))
    assert not _unlisted(operation, found)


@pytest.mark.parametrize("operation", BOTH)
def test_answers_have_what_the_contract_has(operation: str) -> None:
    theirs = THEIRS[operation]["responses"]["200"]["content"]
    ours = ROUTED[operation]["responses"]["200"]["content"]
    assert set(theirs) == set(ours)
    for media, content in theirs.items():
        if media == "application/json":
            found = set(_different(Schema(CONTRACT, content["schema"]), Schema(OURS, ours[media]["schema"])))
            assert not _unlisted(operation, found)


def test_what_is_referred_to_is_there_and_nothing_else() -> None:
    text = orjson.dumps(OURS).decode()
    assert set(re.findall(r"#/components/schemas/([\w.]+)", text)) == set(OURS["components"]["schemas"])


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        pytest.param(
            {"type": "object", "properties": {"b": {"type": "string"}}}, {Mismatch("a", "absent")}, id="field"
        ),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "string"}}, "required": ["a"]},
            {Mismatch("a", "null")},
            id="type",
        ),
        pytest.param({"type": "object", "properties": {"a": {"type": "number"}}}, {
            Mismatch("a", "absent"), Mismatch("b", "absent"),
        }, id="needed"),
    ],
)  # fmt: skip
def test_the_comparison_finds_differences(broken: dict[str, Any], found: set[Mismatch]) -> None:
    kind = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "string"}}, "required": ["a"]}
    assert set(_different(Schema(OURS, kind), Schema(OURS, broken))) == found


async def test_the_pages_are_served_without_a_token(api: Api) -> None:
    reply = await api.call("GET", "/openapi.json", token="")
    assert (reply.status, reply.json) == (200, OURS)
    docs = await api.call("GET", "/docs", token="")
    assert docs.status == 200
    assert docs.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in docs.text
    assert not re.findall(r'(?:src|href)="(?!#|openapi\.json)', docs.text)
    for operation in ROUTED.values():
        assert f'id="{operation["operationId"]}"' in docs.text
