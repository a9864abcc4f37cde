"""The contract's schemas, and the places where an answer does not follow them."""

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

_HERE = Path(__file__).parent
CONTRACT: dict[str, Any] = orjson.loads((_HERE / "contract.json").read_bytes())
_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "number": (int, float),
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`at`: dotted place in the answer, `[]` for each item of a list. `found`: JSON type, or `absent`, `extra`."""

    at: str
    found: str


def load_deviations(
    operations: Collection[str] | None = None, tables: Collection[str] = ("deviation",)
) -> set[tuple[str, Mismatch]]:
    """Those of `operations`, all when None."""
    found = tomllib.loads((_HERE / "deviations.toml").read_text())
    rows = [row for table in tables for row in found[table]]
    return {
        (row["operation"], Mismatch(".".join(filter(None, (row.get("of"), row["at"]))), row["is"]))
        for row in rows
        if operations is None or row["operation"] in operations
    }


def response_schema(operation: str, status: int = 200) -> dict[str, Any]:
    method, path = operation.split(" ")
    found = CONTRACT["paths"][path][method.lower()]["responses"][str(status)]["content"]["application/json"]["schema"]
    assert isinstance(found, dict)
    return found


def request_schema(operation: str) -> dict[str, Any]:
    method, path = operation.split(" ")
    found = CONTRACT["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]["schema"]
    return _resolve(found)


def parameters(operation: str, place: str) -> set[str]:
    method, path = operation.split(" ")
    return {row["name"] for row in CONTRACT["paths"][path][method.lower()].get("parameters", []) if row["in"] == place}


def _resolve(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = CONTRACT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def mismatches(value: object, schema: dict[str, Any], at: str = "") -> set[Mismatch]:
    """Where `value` does not follow `schema`, or says more than it."""
    schema = _resolve(schema)
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        each = [mismatches(value, one, at) for one in choices]
        return min(each, key=len)
    kind = schema.get("type", "object" if "properties" in schema else "")
    if kind and (not isinstance(value, _TYPES[kind]) or (kind == "number" and isinstance(value, bool))):
        return {Mismatch(at, _kind(value))}
    found: set[Mismatch] = set()
    if isinstance(value, list) and "items" in schema:
        for item in value:
            found |= mismatches(item, schema["items"], f"{at}[]")
    if isinstance(value, dict) and schema.get("properties"):
        found |= _object(value, schema, at)
    return found


def _object(value: dict[str, Any], schema: dict[str, Any], at: str) -> set[Mismatch]:
    def below(key: str) -> str:
        return f"{at}.{key}" if at else key

    found = {Mismatch(below(key), "absent") for key in schema.get("required", ()) if key not in value}
    for key, inner in value.items():
        if key in schema["properties"]:
            found |= mismatches(inner, schema["properties"][key], below(key))
        else:
            found.add(Mismatch(below(key), "extra"))
    return found


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return next(
        name
        for name, kind in _TYPES.items()
        if isinstance(value, kind) and not (name == "number" and isinstance(value, bool))
    )
