"""Requests as models, and their violations as the messages that clients of the contract know."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from api.errors import ValidationFailed
from api.schemas.types import EMPTY_IS_ABSENT, ip_address, text
from duckmail.model.credentials import Trace

Values = Mapping[str, object]
RequestT = TypeVar("RequestT", bound="Request")

MOST_VIOLATIONS = 50  # reported; a request may hold any number of unknown keys
_LONGEST_KEY = 128

# What stands in a message instead of the key.
_LABELS: Mapping[str, str] = {
    "next": "Next page cursor",
    "previous": "Previous page cursor",
    "limit": "Page size",
    "ip": "Client IP",
}
_MESSAGES: Mapping[str, str] = {
    "missing": '"{label}" is required',
    "extra_forbidden": '"{label}" is not allowed',
    "tuple_type": '"{label}" must be an array',
    "list_type": '"{label}" must be an array',
    "model_type": '"{label}" must be of type object',
    "model_attributes_type": '"{label}" must be of type object',
    "too_long": '"{label}" contains too many items',
}


class Request(BaseModel):
    """Keys are the camelCase of the attributes; unknown ones are violations. What was given is `model_fields_set`."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True, hide_input_in_errors=True)
    _absent_when_empty: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        cls._absent_when_empty = frozenset(
            info.alias or name for name, info in cls.model_fields.items() if EMPTY_IS_ABSENT in info.metadata
        )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, values: Any) -> Any:  # noqa: ANN401 -- whatever JSON holds
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value != "" or key not in cls._absent_when_empty}

    def given(self, *names: str) -> dict[str, Any]:
        """The attributes among `names` that the request has."""
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


class Traced(Request):
    """Accepted nearly everywhere and only logged: the session and address of a webmail's user."""

    sess: Annotated[str, text(255)] = ""
    ip: Annotated[str, ip_address()] = ""

    @property
    def trace(self) -> Trace:
        return Trace(self.ip, self.sess)


class Nothing(BaseModel):
    """A request whose input is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Lenient(Traced):
    """A listing: unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore")


Parsed = TypeVar("Parsed", bound=BaseModel)


def parse(model: type[Parsed], values: Values) -> Parsed:
    """Raises: ValidationFailed, with every violation."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    messages: list[str] = []
    details: dict[str, str] = {}
    for violation in found[:MOST_VIOLATIONS]:
        path, texts = _describe(violation)
        details.setdefault(",".join(path)[:_LONGEST_KEY], texts[0])
        messages.extend(texts)
    raise ValidationFailed(messages, details)


def _describe(violation: ErrorDetails) -> tuple[list[str], list[str]]:
    """The violation's path, and its messages with the label filled in."""
    context = violation.get("ctx", {})
    at = context.get("at")
    location = violation["loc"] if at is None else (*violation["loc"], at)
    templates = context.get("messages") or [_MESSAGES.get(violation["type"], '"{label}" is not valid')]
    # The label stands first in every template; what follows may hold the client's own text.
    texts = [template.replace("{label}", _label(location), 1) for template in templates]
    return [str(step) for step in location], texts


def _label(location: tuple[int | str, ...]) -> str:
    if not location:
        return "value"
    first, *rest = location
    label = _LABELS.get(str(first), str(first)) if not rest else str(first)
    for step in rest:
        label += f"[{step}]" if isinstance(step, int) else f".{step}"
    return label[:_LONGEST_KEY]
