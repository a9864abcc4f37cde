"""What an account has that decides about incoming mail, beside its user record and INBOX."""

from dataclasses import dataclass

from duckmail.model.autoreply import Autoreply
from duckmail.model.filters import Filter


@dataclass(frozen=True, slots=True)
class Rules:
    """`tags`: of the account, for which domains are allowed or blocked. `forwards`: how many a day. `address`: the
    account's main one, "" without one; `name`: its owner's. `pub_key`: OpenPGP, armored, to which
    mail is encrypted that is stored (`encrypt_messages`: in whatever mailbox) or sent on (`encrypt_forwarded`)."""

    filters: tuple[Filter, ...] = ()
    targets: tuple[str, ...] = ()
    autoreply: Autoreply | None = None
    tags: tuple[str, ...] = ()
    forwards: int = 0
    address: str = ""
    name: str = ""
    pub_key: str = ""
    encrypt_messages: bool = False
    encrypt_forwarded: bool = False
