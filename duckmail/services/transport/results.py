"""What came of TLS with other servers, counted until it is reported."""

from dataclasses import replace

from duckmail.model.transport import Session
from duckmail.services.tally import Records, Tally


class Results(Tally[Session]):
    def __init__(self, records: Records[Session]) -> None:
        super().__init__(records, "TLS")

    def note(self, kind: Session) -> None:
        """One session with a server, without the words of the error: they differ each time."""
        super().note(replace(kind, detail=""))
