"""The kinds of values that configuration files hold, and how they are written."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

OCTETS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "KB": 10**3, "MB": 10**6,
          "GB": 10**9, "TB": 10**12}  # fmt: skip
SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_UNIX = re.compile(r"unix:/[^,\x00-\x1f]+(?:,mode=[0-7]{1,4}|,group=[A-Za-z0-9._-]+)*")
_SYSTEMD = re.compile(r"systemd:[A-Za-z0-9._-]+")
_HOSTNAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """Mark on a type: `text` tells the reader how its values look; `write` gives the TOML of a value."""

    text: str
    write: Callable[[object], str]


def quoted(value: object) -> str:
    """A TOML basic string."""
    text = str(value)
    escaped = "".join(
        f"\\{sign}" if sign in '\\"' else sign if sign >= " " and sign != "\x7f" else f"\\u{ord(sign):04X}"
        for sign in text
    )
    return f'"{escaped}"'


def parse_size(value: object) -> object:
    """Octets of `65536`, `"64 KiB"`, `"1.5 GB"`; raises ValueError."""
    return round(_quantity(value, OCTETS, 'a size such as "64 MiB"'))


def parse_duration(value: object) -> object:
    """Seconds of `90`, `1.5`, `"30 min"`, `"250 ms"`; raises ValueError."""
    return float(_quantity(value, SECONDS, 'a time such as "30 s", "5 min" or "2 h"'))


def _quantity(value: object, units: dict[str, int] | dict[str, float], wanted: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("must not be negative")
        return value
    found = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found.group(2) not in units:
        raise ValueError(f"must be {wanted}; units: {', '.join(unit for unit in units if unit)}")
    return float(found.group(1)) * units[found.group(2)]


def write_size(value: object) -> str:
    octets = int(str(value))
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if octets and octets % OCTETS[unit] == 0:
            return quoted(f"{octets // OCTETS[unit]} {unit}")
    return str(octets)


def write_duration(value: object) -> str:
    seconds = float(str(value))
    for unit in ("d", "h", "min", "s"):
        if seconds >= SECONDS[unit] and seconds % SECONDS[unit] == 0:
            return quoted(f"{int(seconds / SECONDS[unit])} {unit}")
    return str(seconds) if seconds else "0"


def _check_network(value: str) -> str:
    if value != "unix":
        try:
            ip_network(value)
        except ValueError as error:
            raise ValueError(f'must be a network such as "10.0.0.0/8", an address, or "unix": {error}') from error
    return value


def _check_ip_network(value: str) -> str:
    if value == "unix":
        raise ValueError('must be a network such as "10.0.0.0/8", or an address')
    return _check_network(value)


def _check_listen(value: str) -> str:
    if _UNIX.fullmatch(value) or _SYSTEMD.fullmatch(value):
        return value
    found = _HOST_PORT.fullmatch(value)
    if found is None or not 0 <= int(found.group(1)) <= 65535:
        raise ValueError(
            'must be "host:port", "[::1]:port", "unix:/path", "unix:/path,mode=0660,group=name" or "systemd:name"'
        )
    return value


def _check_hostname(value: str) -> str:
    if value and not _HOSTNAME.fullmatch(value):
        raise ValueError("must be a host name such as mail.example.com")
    return value


def _to_path(value: object, info: ValidationInfo) -> object:
    """Relative paths are seen from the configuration file's folder; `~` is the home folder."""
    if not isinstance(value, str) or not value:
        return value if isinstance(value, Path) else None if value == "" else value
    base = info.context.get("base") if isinstance(info.context, dict) else None
    path = Path(value).expanduser()
    return base / path if isinstance(base, Path) else path


Size = Annotated[int, BeforeValidator(parse_size), Kind('octets, or a size such as "64 MiB"', write_size)]
Duration = Annotated[float, BeforeValidator(parse_duration), Kind('seconds, or a time such as "5 min"', write_duration)]
Network = Annotated[str, AfterValidator(_check_network), Kind('network ("10.0.0.0/8", "::1", "unix")', quoted)]
IpNetwork = Annotated[str, AfterValidator(_check_ip_network), Kind('network ("10.0.0.0/8", "::1")', quoted)]
Listen = Annotated[
    str, AfterValidator(_check_listen), Kind('listener ("host:port", "unix:/path", "systemd:name")', quoted)
]
Hostname = Annotated[str, AfterValidator(_check_hostname), Kind("host name", quoted)]
File = Annotated[Path | None, BeforeValidator(_to_path), Kind("path, relative to this file", quoted)]
Folder = Annotated[Path, BeforeValidator(_to_path), Kind("path, relative to this file", quoted)]
Secret = Annotated[SecretStr, Kind("string, secret", quoted)]
Tuple = Annotated[tuple[T, ...], Field(strict=False)]
