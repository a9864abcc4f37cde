"""Requests of the tag Mailboxes."""

from typing import Annotated

from pydantic import PlainValidator, model_validator

from api.schemas.base import Traced
from api.schemas.described import described
from api.schemas.types import EMPTY_IS_ABSENT, boolean, identifier, mailbox_path, number, violation

Flag = Annotated[bool, boolean(), EMPTY_IS_ABSENT]
Id = Annotated[str, identifier()]
Path = Annotated[str, mailbox_path()]
RESOLVE = "resolve"  # in place of an id: the mailbox is named by its path


def _id_or_resolve() -> PlainValidator:
    check = identifier().func

    def either(value: object) -> str:
        return RESOLVE if value == RESOLVE else str(check(value))  # type: ignore[call-arg]

    return described(either, type="string", pattern=f"^(?:[0-9a-fA-F]{{24}}|{RESOLVE})$")


class OfUser(Traced):
    user: Id


class ListMailboxes(OfUser):
    special_use: Flag = False
    show_hidden: Flag = False
    counters: Flag = False
    sizes: Flag = False


class CreateMailbox(OfUser):
    path: Path
    hidden: Flag = False
    encrypt_messages: Flag = False
    retention: Annotated[int, number(0)] = 0


class OneMailbox(OfUser):
    mailbox: Id


class ReadMailbox(OfUser):
    mailbox: Annotated[str, _id_or_resolve()]
    path: Annotated[str, mailbox_path(), EMPTY_IS_ABSENT] = ""

    @model_validator(mode="after")
    def _resolve_needs_path(self) -> "ReadMailbox":
        if self.mailbox == RESOLVE and not self.path:
            raise violation('"{label}" is required', at="path")
        return self


class UpdateMailbox(OneMailbox):
    path: Path = ""
    retention: Annotated[int, number(0)] = 0
    subscribed: Flag = True
    hidden: Flag = False
    encrypt_messages: Flag = False
