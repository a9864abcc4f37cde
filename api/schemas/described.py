"""Validators that also say what they accept, for `/openapi.json`."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

DATE = {"type": "string", "format": "date-time"}


def described(check: Callable[[object], object], **schema: object) -> PlainValidator:
    """`schema`: JSON Schema of what `check` accepts; forms that it only tolerates need not be told."""
    kind: Any = Annotated[object, WithJsonSchema(schema)]
    return PlainValidator(check, json_schema_input_type=kind)
