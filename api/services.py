"""What the API is made over, and how it is set up."""

from dataclasses import dataclass, field
from typing import Protocol

from api.acme import Challenges
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.addresses import Addresses
from duckmail.services.addressregister import AddressRegister
from duckmail.services.asps import ApplicationPasswords
from duckmail.services.audits import Audits
from duckmail.services.auth import Auth
from duckmail.services.authlog import AuthLog
from duckmail.services.certs.certs import Certificates
from duckmail.services.dkim.dkim import Dkim
from duckmail.services.domainaliases import DomainAliases
from duckmail.services.files import UserFiles
from duckmail.services.filters import Autoreplies, DomainAccess, Filters
from duckmail.services.mailboxes import Mailboxes
from duckmail.services.messages.services import MessageServices
from duckmail.services.mfa import TwoFactor
from duckmail.services.profile import Profiles
from duckmail.services.queue.byhand import QueueByHand
from duckmail.services.quotas import Quotas
from duckmail.services.receivedreports import ReceivedReports
from duckmail.services.settings import ServerSettings
from duckmail.services.tasks.tasks import TaskList
from duckmail.services.tokens import Tokens
from duckmail.services.tracing import Tracing
from duckmail.services.transfer import Transfer
from duckmail.services.updates import Updates
from duckmail.services.usage import Usages
from duckmail.services.users import Users
from duckmail.services.webauthn import WebAuthn
from duckmail.services.webhooks.webhooks import Webhooks


class Health(Protocol):
    async def problem(self) -> str:
        """What does not work, one line; "" when all does."""
        ...


@dataclass(frozen=True, slots=True)
class ApiServices:
    acme: Challenges
    address_register: AddressRegister
    addresses: Addresses
    asps: ApplicationPasswords
    audits: Audits
    auth: Auth
    authlog: AuthLog
    autoreplies: Autoreplies
    budget: OctetBudget
    certificates: Certificates
    dkim: Dkim
    domain_access: DomainAccess
    domain_aliases: DomainAliases
    files: UserFiles
    filters: Filters
    health: Health
    mailboxes: Mailboxes
    messages: MessageServices
    mfa: TwoFactor
    profiles: Profiles
    quotas: Quotas
    queue: QueueByHand
    reports: ReceivedReports
    settings: ServerSettings
    tasks: TaskList
    threads: Pool
    tokens: Tokens
    tracing: Tracing
    updates: Updates
    transfer: Transfer
    usages: Usages
    users: Users
    webauthn: WebAuthn
    webhooks: Webhooks


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """
    Args:
        access_control: ask for a token; without it (and without `access_token`) a call without one has all rights.
        access_token: one literal that has the role `root`; "" for none.
        cors_origins: origins of browsers' calls that are answered; `*` for all.
    """

    access_control: bool = True
    access_token: str = field(default="", repr=False)
    cors_origins: tuple[str, ...] = ("*",)
