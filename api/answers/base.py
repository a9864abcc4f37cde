"""The base of answers' models, and the row that says what an operation answers."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

JSON = "application/json"

Anything = dict[str, object]
Date = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class Answer(BaseModel):
    """Attributes have the names of the wire. What is not named here is not answered."""

    model_config = ConfigDict(extra="forbid", strict=True)


def absent(name: str | None = None) -> Any:  # noqa: ANN401 -- stands for a default of any type
    """For an attribute that an answer may leave out. `name`: on the wire, where it is a word of Python."""
    return Field(None, alias=name)


@dataclass(frozen=True, slots=True)
class Operation:
    """`name`: unique, as in the contract. `answer`: of success; None when it is octets of the type `media`."""

    name: str
    answer: type[BaseModel] | None = None
    media: str = JSON
