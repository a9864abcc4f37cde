"""Requests of the tag Addresses."""

from typing import Annotated

from pydantic import AfterValidator, Field

from api.paging import Paged
from api.schemas.autoreplies import AutoreplyOf
from api.schemas.base import Traced
from api.schemas.types import (
    EMPTY_IS_ABSENT,
    address_or_id,
    address_or_wildcard,
    boolean,
    comma_list,
    domain,
    identifier,
    json_object,
    local_email,
    number,
    target,
    text,
    violation,
)

Id = Annotated[str, identifier()]
Flag = Annotated[bool, boolean(), EMPTY_IS_ABSENT]
Tags = Annotated[tuple[Annotated[str, text(128)], ...], Field(max_length=1000)]
Targets = Annotated[tuple[Annotated[str, target()], ...], Field(max_length=1000)]
JsonObject = Annotated[str, json_object()]


def _not_unset(value: bool) -> bool:
    if not value:
        raise violation("Cannot unset main status")
    return value


class ListAddresses(Paged):
    query: Annotated[str, text(255, empty=True)] = ""
    forward: Annotated[str, text(255, empty=True)] = ""
    tags: Annotated[tuple[str, ...], comma_list(1024)] = ()
    required_tags: Annotated[tuple[str, ...], comma_list(1024)] = ()
    meta_data: Flag = False
    internal_data: Flag = False


class _Described(Traced):
    """What all addresses have."""

    name: Annotated[str, text(128), EMPTY_IS_ABSENT] = ""
    tags: Tags = ()
    meta_data: JsonObject = "{}"
    internal_data: JsonObject = "{}"


class CreateAddress(_Described):
    user: Id
    address: Annotated[str, address_or_wildcard()]
    main: Flag = False
    allow_wildcard: Flag = False


class UserAddresses(Traced):
    user: Id
    meta_data: Flag = False
    internal_data: Flag = False


class OneAddress(Traced):
    user: Id
    address: Id


class UpdateAddress(_Described):
    user: Id
    id: Id
    address: Annotated[str, local_email()] = ""
    main: Annotated[bool, boolean(), AfterValidator(_not_unset), EMPTY_IS_ABSENT] = True


class AddressRegister(Traced):
    user: Id
    query: Annotated[str, text(255)]
    limit: Annotated[int, number(1, 250)] = 20


class _Forwarding(_Described):
    targets: Targets = ()
    forwards: Annotated[int, number(0)] = 0
    autoreply: AutoreplyOf | None = None


class CreateForwarded(_Forwarding):
    address: Annotated[str, address_or_wildcard()]
    allow_wildcard: Flag = False


class UpdateForwarded(_Forwarding):
    id: Id
    address: Annotated[str, local_email()] = ""
    forwarded_disabled: Flag = False


class OneForwarded(Traced):
    address: Id


class ResolveAddress(Traced):
    address: Annotated[str, address_or_id()]
    allow_wildcard: Flag = False


class RenameDomain(Traced):
    old_domain: Annotated[str, domain()]
    new_domain: Annotated[str, domain()]
