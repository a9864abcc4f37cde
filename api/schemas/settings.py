"""Requests of the tag Settings."""

from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError, ValidationInfo, field_validator

from api.schemas.base import Lenient, Traced
from api.schemas.types import boolean, number, one_of, text, violation
from duckmail.errors import InvalidInput
from duckmail.model.settings import BY_KEY, MOST, Value

_NUMBER: TypeAdapter[int] = TypeAdapter(Annotated[int, number(0, MOST)])
_BOOLEAN: TypeAdapter[bool] = TypeAdapter(Annotated[bool, boolean()])
_TEXT: TypeAdapter[str] = TypeAdapter(Annotated[str, text(4096, empty=True)])
_TYPES: dict[str, TypeAdapter[Any]] = {
    "boolean": _BOOLEAN, "string": _TEXT, "number": _NUMBER, "size": _NUMBER, "duration": _NUMBER,
}  # fmt: skip


class ListSettings(Lenient):
    filter: Annotated[str, text(128, empty=True)] = ""


class OneSetting(Traced):
    key: Annotated[str, text(128)]


class PutSetting(Traced):
    key: Annotated[str, one_of(*BY_KEY)]
    value: Any

    @field_validator("value")
    @classmethod
    def _of_its_type(cls, value: object, info: ValidationInfo) -> Value:
        setting = BY_KEY.get(info.data.get("key", ""))
        if setting is None:
            return ""  # the key is reported
        try:
            return setting.checked(_TYPES[setting.type].validate_python(value))
        except ValidationError as error:
            raise violation(*error.errors()[0]["ctx"]["messages"]) from None
        except InvalidInput as error:
            raise violation(f'"{{label}}" {error.text}') from None
