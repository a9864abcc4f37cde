"""What a delivery tells the story of a message: whom it is from, what was found out, who decided, where it is."""

from collections.abc import Mapping, Sequence

from duckmail.errors import DuckmailError
from duckmail.model.envelope import Envelope, Recipient
from duckmail.model.mailauth import Authentication
from duckmail.model.message import Appended
from duckmail.model.spam import Spam
from duckmail.model.trace import Step
from duckmail.services.inspection import Inspected
from duckmail.services.refusals import Stage, reason, source, whence
from duckmail.services.tracing import Tracing

Outcome = Appended | DuckmailError | None


def tell_delivered(
    tracing: Tracing,
    message_id: str,
    arrived: Mapping[str, object],
    outcomes: Sequence[tuple[Recipient, Outcome]],
    decisions: Mapping[str, Mapping[str, object]],
) -> None:
    """`arrived`: of `arrival`. `decisions`: by account, of who has rules."""
    for recipient, outcome in outcomes:
        decided = decisions.get(recipient.account, {})
        about = {**arrived, "recipient": recipient.address, **decided, **_ended(outcome, recipient)}
        tracing.note(Step.DELIVERY, message_id, recipient.owner, about)


def tell_refused(
    tracing: Tracing,
    message_id: str,
    envelope: Envelope,
    recipients: Sequence[Recipient],
    error: DuckmailError,
    *,
    size: int,
) -> None:
    """Of a message that nobody has. `size`: octets."""
    arrived = {"stage": Stage.MESSAGE.value, **arrival(envelope, size)}
    for recipient in recipients:
        about = {**arrived, "recipient": recipient.address, "error": error.text}
        tracing.refuse(source(envelope), reason(error), message_id, recipient.owner, about)


def arrival(
    envelope: Envelope, size: int, found: Inspected | None = None, spam: Spam | None = None
) -> dict[str, object]:
    """Of all recipients alike. `size`: octets."""
    about: dict[str, object] = {
        **whence(envelope),
        "tls": envelope.tls or None,
        "sender": envelope.sender or "<>",
        "size": size,
    }
    if found is not None and found.checked is not None:
        about["checks"] = checks(found.checked.found)
    if spam is not None and (spam.score or spam.points):
        about["spamScore"] = spam.score
    return about


def checks(found: Authentication) -> dict[str, object]:
    """Each method in the words of RFC 8601 §2.7."""
    said: dict[str, object] = {}
    if found.spf is not None:
        said["spf"] = _of(found.spf.result, found.spf.domain)
    if found.dkim:
        said["dkim"] = [_of(each.result, each.domain) for each in found.dkim]
    if found.dmarc is not None:
        said["dmarc"] = _of(found.dmarc.result, found.dmarc.domain)
    if found.arc is not None:
        said["arc"] = _of(found.arc.result, ", ".join(found.arc.sealers))
    if found.iprev is not None:
        said["iprev"] = _of(found.iprev.result, found.iprev.name)
    return said


def _of(result: str, about: str) -> str:
    return f"{result} ({about})" if about else result


def _ended(outcome: Outcome, recipient: Recipient) -> dict[str, object]:
    if isinstance(outcome, DuckmailError):
        return {"result": "deferred" if outcome.temporary else "refused", "error": outcome.text}
    if outcome is None:
        return {"result": "forwarded" if recipient.targets else "dropped"}
    where = {"mailbox": outcome.mailbox, "uid": outcome.uid, "message": outcome.id}
    return {"result": "duplicate" if outcome.duplicate else "stored", **where}
