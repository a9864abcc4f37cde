"""Field types: what each accepts from JSON or from text, and the message for what it does not.

Each factory gives a validator for `Annotated[T, factory(...)]`. A value that breaks several rules gets a message for
each. `{label}` in a message stands for the key.
"""

import ipaddress
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import orjson
from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from api.schemas.described import DATE, described
from duckmail.errors import Cannot, InvalidInput
from duckmail.model.mailbox import MAX_PATH, normalise_path
from duckmail.services import names

EMPTY_IS_ABSENT: Final = "empty-is-absent"  # in a field's metadata: "" counts as not given

_TRUE = frozenset({"true", "y", "yes", "on", "1"})
_FALSE = frozenset({"false", "n", "no", "off", "0"})
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,32}(?:\.[0-9]{0,32})?|\.[0-9]{1,32})(?:[eE][+-]?[0-9]{1,3})?")
_HEX = re.compile(r"[0-9a-fA-F]*")
_SAFE = 2**53 - 1  # what a number of JavaScript holds exactly
_SHOWN = 128  # characters of a value that are repeated in a message
_TARGET_SCHEMES = frozenset({"smtp", "smtps", "http", "https"})


def violation(*messages: str, at: str | int | None = None) -> PydanticCustomError:
    """The error of a value, or of what is `at` a key or index in it; one message for each rule that is broken."""
    return PydanticCustomError("rule", "invalid", {"messages": list(messages), "at": at})


def text(most: int, *, empty: bool = False, least: int = 0) -> PlainValidator:
    """Only strings. `most`, `least`: characters."""

    def check(value: object) -> str:
        found = _string(value, empty)
        if len(found) > most:
            raise violation(f'"{{label}}" length must be less than or equal to {most} characters long')
        if len(found) < least and not (empty and not found):
            raise violation(f'"{{label}}" length must be at least {least} characters long')
        return found

    return described(check, type="string", minLength=0 if empty else max(least, 1), maxLength=most)


def username() -> PlainValidator:
    """Lower-cased."""

    def check(value: object) -> str:
        found = _string(value).lower()
        messages = []
        if not names.is_username(found[: names.MAX_USERNAME]):
            messages.append(
                f'"{{label}}" with value "{found[:_SHOWN]}" fails to match the required pattern: '
                f"/^{names.USERNAME_PATTERN}$/"
            )
        if len(found) > names.MAX_USERNAME:
            messages.append(f'"{{label}}" length must be less than or equal to {names.MAX_USERNAME} characters long')
        if messages:
            raise violation(*messages)
        return found

    return described(check, type="string", minLength=1, maxLength=names.MAX_USERNAME)


def login_name() -> PlainValidator:
    """A user name, or a mail address."""

    def check(value: object) -> str:
        found = _string(value).strip()
        if not names.is_username(found.lower()) and not names.is_email(found):
            raise violation('"{label}" does not match any of the allowed types')
        return found

    return described(check, type="string", minLength=1)


def password() -> PlainValidator:
    """At most 256 characters; `false` and "" are none, given as ""."""

    def check(value: object) -> str:
        if value is False:
            return ""
        found = _string(value, empty=True)
        if len(found) > 256:
            raise violation('"{label}" length must be less than or equal to 256 characters long')
        return found

    return described(check, type="string", maxLength=256)


def boolean(only: bool | None = None) -> PlainValidator:
    """Booleans, 1 and 0, and their words in any case. `only`: the one value that is allowed."""

    def check(value: object) -> bool:
        found = _boolean(value)
        if found is None:
            raise violation('"{label}" must be a boolean')
        if only is not None and found is not only:
            raise violation(f'"{{label}}" must be [{str(only).lower()}]')
        return found

    return described(check, type="boolean", **({} if only is None else {"const": only}))


def number(least: int | None = None, most: int | None = None) -> PlainValidator:
    """Numbers and their decimal text; a fraction is cut off."""

    def check(value: object) -> int:
        found = _number(value)
        messages = []
        if least is not None and found < least:
            messages.append(f'"{{label}}" must be greater than or equal to {least}')
        if most is not None and found > most:
            messages.append(f'"{{label}}" must be less than or equal to {most}')
        if abs(found) > _SAFE:
            messages.append('"{label}" must be a safe number')
        if messages:
            raise violation(*messages)
        return int(found)

    return described(check, type="number", **_bounds(least, most))


def identifier() -> PlainValidator:
    """24 hexadecimal digits, lower-cased."""

    def check(value: object) -> str:
        found = _string(value)
        messages = []
        if not _HEX.fullmatch(found):
            messages.append('"{label}" must only contain hexadecimal characters')
        if len(found) != 24:
            messages.append('"{label}" length must be 24 characters long')
        if messages:
            raise violation(*messages)
        return found.lower()

    return described(check, type="string", pattern="^[0-9a-fA-F]{24}$")


def email() -> PlainValidator:
    def check(value: object) -> str:
        found = _string(value).strip()
        if not names.is_email(found):
            raise violation('"{label}" must be a valid email')
        return found

    return described(check, type="string", format="email")


def local_email() -> PlainValidator:
    """As `email`, or with a domain of one label: whether that is one of this server the services say."""

    def check(value: object) -> str:
        found = _string(value).strip()
        if not names.is_email(found, least=1):
            raise violation('"{label}" must be a valid email')
        return found

    return described(check, type="string", format="email")


def address_or_wildcard() -> PlainValidator:
    """A mail address; `*` may stand for a part of its local part, or for its domain. One label: as `local_email`."""

    def check(value: object) -> str:
        found = _string(value).strip()
        if not (
            names.is_email(found, least=1) or (found.endswith("@*") and names.is_email(found[:-1] + "any.example"))
        ):
            raise violation('"{label}" must be a valid email')
        return found

    return described(check, type="string")


def address_or_id() -> PlainValidator:
    """A mail address or a wildcard, or 24 hexadecimal digits, lower-cased."""
    address = address_or_wildcard().func

    def check(value: object) -> str:
        found = _string(value)
        if len(found) == 24 and _HEX.fullmatch(found):
            return found.lower()
        try:
            return str(address(found))  # type: ignore[call-arg]
        except PydanticCustomError:
            raise violation('"{label}" does not match any of the allowed types') from None

    return described(check, type="string")


def domain() -> PlainValidator:
    """The name of a mail domain, in ASCII or Unicode."""

    def check(value: object) -> str:
        found = _string(value).strip()
        if not names.is_domain(found):
            raise violation('"{label}" must be a valid domain name')
        return found

    return described(check, type="string", format="idn-hostname")


def target() -> PlainValidator:
    """Where mail is forwarded to: a mail address, or a URL of SMTP or HTTP."""

    def check(value: object) -> str:
        found = _string(value).strip()
        if len(found) > 1024 or not (names.is_email(found) or _is_target_url(found)):
            raise violation('"{label}" does not match any of the allowed types')
        return found

    return described(check, type="string", maxLength=1024)


def relay() -> PlainValidator:
    """A server that takes mail by SMTP, as a URL."""

    def check(value: object) -> str:
        found = _string(value).strip()
        if not found:
            raise violation('"{label}" is not allowed to be empty')
        if len(found) > 1024 or not found.lower().startswith(("smtp://", "smtps://")) or not _is_target_url(found):
            raise violation('"{label}" must be a valid uri with a scheme matching the smtps|smtp pattern')
        return found

    return described(check, type="string", minLength=1, maxLength=1024)


def or_empty(inner: PlainValidator) -> PlainValidator:
    """What `inner` gives, or "" as it is."""

    def check(value: object) -> object:
        return value if value == "" and isinstance(value, str) else inner.func(value)  # type: ignore[call-arg]

    return PlainValidator(check, json_schema_input_type=inner.json_schema_input_type)


def one_of(*allowed: str) -> PlainValidator:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise violation(f'"{{label}}" must be one of [{", ".join(allowed)}]')
        return value

    return described(check, type="string", enum=list(allowed))


def ip_address() -> PlainValidator:
    """An IPv4 or IPv6 address without a prefix length."""

    def check(value: object) -> str:
        found = _string(value)
        try:
            return str(ipaddress.ip_address(found.partition("%")[0]))
        except ValueError:
            raise violation(
                '"{label}" must be a valid ip address of one of the following versions [ipv4, ipv6] '
                "with a forbidden CIDR"
            ) from None

    return described(check, type="string", anyOf=[{"format": "ipv4"}, {"format": "ipv6"}])


def cursor() -> PlainValidator:
    """The text of a paging cursor, not yet read."""
    pattern = re.compile(r"[A-Za-z0-9_-]+")

    def check(value: object) -> str:
        found = _string(value)
        messages = []
        if not pattern.fullmatch(found):
            messages.append(
                f'"{{label}}" with value "{found[:_SHOWN]}" fails to match the required pattern: /^[a-z0-9\\-_]+$/i'
            )
        if len(found) > 1024:
            messages.append('"{label}" length must be less than or equal to 1024 characters long')
        if messages:
            raise violation(*messages)
        return found

    return described(check, type="string", pattern="^[A-Za-z0-9_-]+$", maxLength=1024)


def comma_list(most: int) -> PlainValidator:
    """A string of items between commas, as a tuple; "" is empty. `most`: characters."""

    def check(value: object) -> tuple[str, ...]:
        found = _string(value, empty=True)
        if len(found) > most:
            raise violation(f'"{{label}}" length must be less than or equal to {most} characters long')
        return tuple(item for item in (item.strip() for item in found.split(",")) if item)

    return described(check, type="string", maxLength=most)


def moment(*, required: bool = False) -> PlainValidator:
    """ISO 8601, or milliseconds since 1970 as number or text; `false` is None, unless it is `required`."""

    def check(value: object) -> datetime | None:
        if value is False and not required:
            return None
        found = _moment(value)
        if found is None:
            raise violation('"{label}" must be a valid date')
        return found

    return described(check, **(DATE if required else {"anyOf": [DATE, {"type": "boolean", "const": False}]}))


def json_object(most: int = 1 << 20) -> PlainValidator:
    """An object, or a string that holds one; gives its JSON text. `most`: octets of that."""

    def check(value: object) -> str:
        try:
            found = orjson.loads(value) if isinstance(value, str) else value
            packed = orjson.dumps(found)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            raise violation('"{label}" value must be valid JSON object string') from None
        if not isinstance(found, dict):
            raise violation('"{label}" must be of type object')
        if len(packed) > most:
            raise violation(f'"{{label}}" must not be larger than {most} bytes')
        return packed.decode()

    return described(check, type="object")


def mailbox_path() -> PlainValidator:
    """A mailbox's path, normalised; a leading `/` is left out."""

    def check(value: object) -> str:
        found = _string(value)
        if len(found) > MAX_PATH:
            raise violation(f'"{{label}}" length must be less than or equal to {MAX_PATH} characters long')
        if "//" in found or found.endswith("/"):
            raise violation('"{label}" can not contain // or end with /')
        try:
            return normalise_path(found.removeprefix("/"))
        except (Cannot, InvalidInput) as error:
            raise violation(f'"{{label}}" is not valid: {error.text}') from error

    return described(check, type="string", minLength=1, maxLength=MAX_PATH)


def unique(items: Sequence[str]) -> Sequence[str]:
    """For `AfterValidator` on a list."""
    for index, item in enumerate(items):
        if item in items[:index]:
            raise violation('"{label}" contains a duplicate value', at=index)
    return items


def _bounds(least: int | None, most: int | None) -> dict[str, object]:
    return {key: value for key, value in (("minimum", least), ("maximum", most)) if value is not None}


def _string(value: object, empty: bool = False) -> str:
    if not isinstance(value, str):
        raise violation('"{label}" must be a string')
    if not value and not empty:
        raise violation('"{label}" is not allowed to be empty')
    return value


def _boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        word = value.lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return None


def _number(value: object) -> int | float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value) if not value.strip().lstrip("+-").isdecimal() else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise violation('"{label}" must be a number')
    return value


def _moment(value: object) -> datetime | None:
    try:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            found = datetime.fromisoformat(value)
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        return datetime.fromtimestamp(_number(value) / 1000, UTC)
    except (ValueError, OverflowError, OSError, PydanticCustomError):
        return None


def _is_target_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    plain = value.isascii() and value.isprintable() and " " not in value
    return plain and parts.scheme in _TARGET_SCHEMES and bool(parts.hostname)
