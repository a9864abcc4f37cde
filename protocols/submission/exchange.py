"""AUTH (RFC 4954): from the command to who has signed in, line by line."""

from collections.abc import Awaitable, Callable

from duckmail.errors import DuckmailError
from duckmail.model.account import Principal
from protocols.sasl.exchange import Attempt
from protocols.sasl.mechanisms import MAX_RESPONSE, Offer
from protocols.sasl.steps import SaslError
from protocols.smtp.replies import error_reply
from protocols.smtp.wire.reply import CommandError
from protocols.submission import replies

# RFC 4954 §4: the limit of command lines does not hold for responses; "AUTH PLAIN " may stand before one.
MAX_LINE = MAX_RESPONSE + 32


async def exchange(argument: str, offer: Offer, attempt: Attempt, ask: Callable[[str], Awaitable[bytes]]) -> Principal:
    """Carries out `mechanism [initial-response]`.

    Args:
        ask: sends a challenge (base64) and gives the client's line.

    Raises:
        CommandError: 504 an unknown mechanism, 501 what is no response, or `*`; others as `replies.AUTH` has them.
    """
    name, _, initial = argument.partition(" ")
    mechanism = offer.start(name, attempt.connection.end_point)
    if mechanism is None:
        raise CommandError(504, "5.5.4", "Unknown authentication mechanism")
    try:
        # RFC 4954 §4: "=" stands for an empty initial response.
        response = initial.strip(" ").encode() or None
        found = await attempt.by_mechanism(mechanism, response, lambda challenge: ask(challenge.decode()))
        return found.principal
    except SaslError as error:
        # RFC 4954 §4: 501 for invalid base64, and for "*", with which a client gives up.
        raise CommandError(501, "5.5.2", str(error)) from None
    except DuckmailError as error:
        raise refusal(error) from None


def refusal(error: DuckmailError) -> CommandError:
    answer = error_reply(error, replies.AUTH)
    return CommandError(answer.code, answer.status, answer.lines[0])
