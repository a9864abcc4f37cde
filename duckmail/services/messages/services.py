"""The services on messages together."""

from dataclasses import dataclass

from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.addressregister import AddressRegister
from duckmail.services.compose import Composer
from duckmail.services.files import UserFiles
from duckmail.services.messages.archive import Archive
from duckmail.services.messages.changing import Changing
from duckmail.services.messages.finding import Finding
from duckmail.services.messages.later import Later
from duckmail.services.messages.quoting import Originals
from duckmail.services.messages.reading import Reading
from duckmail.services.messages.uploading import Uploading
from duckmail.services.outbound import Outbound
from duckmail.services.queue.queue import Queue
from duckmail.services.recipients import Resolver
from duckmail.services.relocation import Relocation
from duckmail.services.senders import Senders
from duckmail.services.sending import Policy, Sending
from duckmail.services.tasks.tasks import TaskList
from storage.store import Store


@dataclass(frozen=True, slots=True)
class MessageServices:
    reading: Reading
    changing: Changing
    finding: Finding
    archive: Archive
    later: Later
    uploading: Uploading
    sending: Sending
    outbound: Outbound
    relocation: Relocation


@dataclass(frozen=True, slots=True)
class Around:
    """What the services on messages work with, beside the store. `threads`: for what takes the processor long."""

    threads: Pool
    queue: Queue
    tasks: TaskList
    files: UserFiles
    budget: OctetBudget
    policy: Policy
    register: AddressRegister | None = None


def message_services(store: Store, around: Around) -> MessageServices:
    threads, policy = around.threads, around.policy
    relocation = Relocation(store)
    changing = Changing(store, relocation)
    finding, archive = Finding(store, changing), Archive(store, relocation, policy.quota)
    # From is the account's, whatever it says: so the reference does it.
    senders = Senders(Resolver(store.addresses, store.settings), rewrite=True)
    composer = Composer(Originals(store, threads), around.files, senders, threads, policy.hostname, policy.largest)
    sending = Sending(
        store,
        around.queue,
        composer,
        senders,
        around.files,
        changing,
        threads,
        around.budget,
        policy,
        encryption=relocation.encryption,
        register=around.register,
    )
    return MessageServices(
        reading=Reading(store, threads),
        changing=changing,
        finding=finding,
        archive=archive,
        later=Later(store, around.tasks, finding, changing, archive),
        uploading=Uploading(
            store, composer, changing, relocation.encryption, threads, largest=policy.largest, quota=policy.quota
        ),
        sending=sending,
        outbound=Outbound(store, around.queue, senders, policy.hostname),
        relocation=relocation,
    )
