"""The services on messages together."""

from dataclasses import dataclass

from duckmail.runtime.threads import Pool
from duckmail.services.messages.archive import Archive
from duckmail.services.messages.changing import Changing
from duckmail.services.messages.finding import Finding
from duckmail.services.messages.later import Later
from duckmail.services.messages.reading import Reading
from duckmail.services.tasks.tasks import TaskList
from storage.store import Store


@dataclass(frozen=True, slots=True)
class MessageServices:
    reading: Reading
    changing: Changing
    finding: Finding
    archive: Archive
    later: Later


def message_services(store: Store, threads: Pool, tasks: TaskList, quota: int = 0) -> MessageServices:
    """`threads`: for the decoding of text. `quota`: octets of accounts without their own, 0 for no limit."""
    changing = Changing(store)
    finding, archive = Finding(store, changing), Archive(store, quota)
    later = Later(store, tasks, finding, changing, archive)
    return MessageServices(Reading(store, threads), changing, finding, archive, later)
