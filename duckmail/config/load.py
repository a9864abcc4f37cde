"""Reads a configuration file, and reports every mistake in it at once."""

import difflib
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from duckmail.config.schema import Config
from duckmail.errors import DuckmailError

LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Mistake:
    """`key` is dotted, as in `imap.listen.0`; empty when the file as a whole is wrong."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


class ConfigError(DuckmailError):
    """The configuration cannot be used; `mistakes` holds all of them, the text is one line each."""

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{source}: {mistake}" for mistake in mistakes))


def load(file: Path | None, data: Path | None = None) -> Config:
    """The configuration of `file`, or all defaults when that is None; `data` overrides `server.data`.

    Paths in the result are absolute. Raises: ConfigError.
    """
    base = file.absolute().parent if file else Path.cwd()
    config = parse(_read(file), str(file), base) if file else parse("", "defaults", base)
    folder = Path.cwd() / data.expanduser() if data else base / config.server.data
    server = config.server.model_copy(update={"data": folder})
    return config.model_copy(update={"server": server})


def parse(text: str, source: str, base: Path) -> Config:
    """The configuration of TOML `text`; `source` names it in errors, `base` is where relative paths begin.

    Raises: ConfigError.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [Mistake("", f"not valid TOML: {error}")]) from error
    try:
        return Config.model_validate(document, context={"base": base})
    except ValidationError as error:
        raise ConfigError(source, [_mistake(detail) for detail in error.errors(include_url=False)]) from error


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            octets = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(str(file), [Mistake("", f"cannot be read: {error.strerror}")]) from error
    if len(octets) > LARGEST_FILE:
        raise ConfigError(str(file), [Mistake("", "larger than 1 MiB")])
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), [Mistake("", f"not UTF-8 at octet {error.start}")]) from error


# Pydantic's kinds of errors in our words; `{...}` are the values it gives with the error.
_TEXTS: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a string",
    "tuple_type": 'must be a list, as in ["127.0.0.1:1143"]',
    "path_type": "must be a string with a path",
    "model_type": "must be a table",
    "literal_error": "must be one of {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "value_error": "{error}",
}


def _mistake(detail: ErrorDetails) -> Mistake:
    path = [str(part) for part in detail["loc"]]
    key = ".".join(path)
    if detail["type"] == "extra_forbidden":
        return Mistake(key, _unknown(path))
    text = _TEXTS.get(detail["type"])
    return Mistake(key, text.format(**detail.get("ctx", {})) if text else detail["msg"])


def _unknown(path: Sequence[str]) -> str:
    """What to say about a key that does not exist: the same in another section, or the nearest one here."""
    model: type[BaseModel] | None = Config
    for part in path[:-1]:
        model = _section(model, part) if model else None
    name = path[-1]
    kind = "section" if len(path) == 1 else "key"
    for section in Config.model_fields:
        inner = _section(Config, section)
        if inner and name in inner.model_fields:
            return f"unknown {kind}, did you mean {section}.{name}?"
    near = difflib.get_close_matches(name, list(model.model_fields) if model else [], n=1)
    if near:
        return f"unknown {kind}, did you mean {near[0]}?"
    return f"unknown {kind}"


def _section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = model.model_fields.get(name)
    annotation: Any = field.annotation if field else None
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
