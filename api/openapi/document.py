"""The OpenAPI document (3.1) of a set of routes."""

import re
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from api.answer import Json
from api.answers.base import JSON, Answer, Operation, absent
from api.openapi.operations import EXTENSIONS, OPERATIONS, TAGS
from api.paging import Paged
from api.permissions import ROLES, Reach
from api.route import Route
from duckmail import __version__

_PARAMETER = re.compile(r"\{(\w+)\}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_REF: Final = "#/components/schemas/{model}"
_REFERENCE = re.compile(r"#/components/schemas/(\w+)")
_WITH_BODY = frozenset({"POST", "PUT"})
# Beside the rows of its own, every operation may answer these.
_GENERAL: Final = (
    (400, "InputValidationError"),
    (403, "InvalidToken"),
    (403, "MissingPrivileges"),
    (500, "InternalDatabaseError"),
    (500, "InternalError"),
)
_UNNAMED: Final = Operation("")


class Failure(Answer):
    """A failed request. `error` is text for people; `message` is there instead of it when no operation was reached."""

    error: str = absent()
    message: str = absent()
    code: str = absent()
    details: dict[str, str] = absent()


class _Generator(GenerateJsonSchema):
    """Without titles, and without defaults that only stand for "not given"."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 -- one of a hundred kinds
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        default = found.get("default", False)
        if not isinstance(default, bool) and (default in (None, "", 0, "{}", []) or isinstance(default, dict)):
            found = {key: value for key, value in found.items() if key != "default"}
        return found

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        """A validator that says nothing accepts what it gives."""
        told = super().function_plain_schema(schema)
        serialization: Any = schema.get("serialization", {})
        given = serialization.get("return_schema")
        return self.generate_inner(given) if not told and given else told


def document(routes: Sequence[Route]) -> Json:
    """The whole document; its order is that of `routes`."""
    operations = [OPERATIONS.get(_key(each), _UNNAMED) for each in routes]
    models: dict[type[BaseModel], None] = {Failure: None}
    for each, operation in zip(routes, operations, strict=True):
        models[each.model] = None
        if operation.answer:
            models[operation.answer] = None
    refs, top = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF, schema_generator=_Generator
    )
    schemas: dict[str, Any] = top.get("$defs", {})
    names = {model: str(refs[model, "validation"]["$ref"]).rpartition("/")[2] for model in models}
    paths: Json = {}
    for each, operation in zip(routes, operations, strict=True):
        asked = schemas[names[each.model]]
        described = _operation(each, operation, asked, names)
        paths[each.path] = {**paths.get(each.path, {}), each.method.lower(): described}  # type: ignore[dict-item]
    return {
        "openapi": "3.1.0",
        "info": {"title": "duckmail", "version": __version__},
        "tags": [{"name": name} for name in sorted({TAGS.get(_key(each), EXTENSIONS) for each in routes})],
        "security": [{"AccessTokenAuth": []}, {"BearerAuth": []}],
        "paths": paths,
        "components": {
            "schemas": _used(schemas, paths),
            "securitySchemes": {
                "AccessTokenAuth": {"type": "apiKey", "in": "header", "name": "X-Access-Token"},
                "BearerAuth": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _used(schemas: dict[str, Any], paths: Json) -> Json:
    """Those that are referred to: requests' own models are not, they stand taken apart in the operations."""
    used: set[str] = set()
    found = set(_REFERENCE.findall(str(paths)))
    while found:
        used |= found
        found = {name for each in found for name in _REFERENCE.findall(str(schemas[each]))} - used
    return {name: schemas[name] for name in sorted(used)}


def _key(each: Route) -> str:
    return f"{each.method} {each.path}"


def _operation(each: Route, operation: Operation, asked: Json, names: dict[type[BaseModel], str]) -> Json:
    name = operation.name or _made_up_name(each)
    found: Json = {
        "tags": [TAGS.get(_key(each), EXTENSIONS)],
        "operationId": name,
        "summary": " ".join(_HUMP.split(name)).capitalize(),
        "description": _permission(each),
        **_request(each, asked),
        "responses": {"200": _success(operation, names), **_failures(each)},
    }
    return found


def _made_up_name(each: Route) -> str:
    words = re.findall(r"\w+", each.path)
    return each.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _request(each: Route, asked: Json) -> Json:
    """`parameters` and `requestBody`: what is not in the path is in the body if there is one, else in the query."""
    properties = dict(asked.get("properties", {}))  # type: ignore[call-overload]
    required = set(asked.get("required", ()))  # type: ignore[call-overload]
    parameters: list[Json] = []
    for name in _PARAMETER.findall(each.path):
        schema = properties.pop(name, {"type": "string"})
        if name == "user":
            schema = {"type": "string", "pattern": "^(?:[0-9a-fA-F]{24}|me)$"}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
        required.discard(name)
    found: Json = {"parameters": parameters}
    if each.method not in _WITH_BODY:
        if issubclass(each.model, Paged):
            # Accepted, and not looked at: a cursor says where its page is.
            properties["page"] = {"type": "number"}
        parameters += [_in_query(name, schema, name in required) for name, schema in properties.items()]
        return found
    if properties:
        body = {**asked, "properties": properties, "required": sorted(required)}
        body.pop("title", None)
        body.pop("description", None)
        found["requestBody"] = {"required": bool(required), "content": {JSON: {"schema": body}}}
    return found


def _in_query(name: str, schema: Json, required: bool) -> Json:
    found: Json = {"name": name, "in": "query", "required": required, "schema": schema}
    if "$ref" in schema:
        found |= {"style": "deepObject", "explode": True}
    return found


def _permission(each: Route) -> str:
    wanted = each.permission
    if wanted is None:
        return "For every token."
    roles = []
    for role, rows in ROLES.items():
        reach = rows.get((wanted.resource, wanted.action))
        if reach is Reach.ANY:
            roles.append(role)
        elif reach is Reach.OWN and wanted.reach is Reach.OWN:
            roles.append(f"{role} (its own account)")
    return f"Needs {wanted.action} on {wanted.resource}. Roles: {', '.join(roles)}."


def _success(operation: Operation, names: dict[type[BaseModel], str]) -> Json:
    if operation.answer:
        schema: Json = {"$ref": _REF.format(model=names[operation.answer])}
    elif operation.media == JSON:
        schema = {"type": "object"}
    else:
        schema = {"type": "string", "format": "binary"}
    return {"description": "Success", "content": {operation.media: {"schema": schema}}}


def _failures(each: Route) -> Json:
    rows: dict[int, list[str]] = {}
    for status, code in (*each.errors.values(), *_GENERAL):
        if code not in rows.setdefault(status, []):
            rows[status].append(code)
    content = {JSON: {"schema": {"$ref": _REF.format(model=Failure.__name__)}}}
    return {
        str(status): {"description": ", ".join(filter(None, codes)), "content": content}
        for status, codes in sorted(rows.items())
    }
