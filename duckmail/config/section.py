"""What every table of the configuration is made of."""

from pydantic import BaseModel, ConfigDict

MINUTE = 60.0


class Section(BaseModel):
    """One table of the file; its docstring stands above it there."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=False, hide_input_in_errors=True
    )
