"""What an attempt to send tells the story of its message: of each recipient the last words, and who spoke them."""

from collections.abc import Sequence

from duckmail.model.queue import Outcome, QueuedMessage, QueueRecipient
from duckmail.services.tracing import LONGEST_LIST


def attempted(
    message: QueuedMessage, settled: Sequence[QueueRecipient], outcomes: Sequence[Outcome] = (), seconds: float = 0.0
) -> dict[str, object]:
    """`outcomes`: of each, as far as there was an answer. `seconds`: that it took."""
    codes = {outcome.address: outcome.code for outcome in outcomes}
    recipients = [
        {
            "address": each.address,
            "state": each.state.value,
            "code": codes.get(each.address) or None,
            "status": each.status,
            "reply": each.reply,
            "host": each.host,
            "next": each.due.isoformat() if each.due else "",
        }
        for each in settled[:LONGEST_LIST]
    ]
    return {
        "queue": message.id,
        "origin": message.origin.value,
        "sender": message.envelope.sender or "<>",
        "recipients": recipients,
        "more": len(settled) - LONGEST_LIST if len(settled) > LONGEST_LIST else None,
        "ms": round(seconds * 1000, 1) or None,
    }
