"""AUTH (RFC 4954): from the command to credentials, line by line."""

from base64 import b64encode
from collections.abc import Awaitable, Callable

from protocols.sasl import mechanisms
from protocols.sasl.mechanisms import Credentials, SaslError
from protocols.smtp.wire.reply import CommandError

MECHANISMS = ("PLAIN", "LOGIN")
# RFC 4954 §4: the limit of command lines does not hold for responses; "AUTH PLAIN " may stand before one.
MAX_LINE = mechanisms.MAX_RESPONSE + 32


async def exchange(argument: str, ask: Callable[[str], Awaitable[bytes]]) -> Credentials:
    """Carries out `mechanism [initial-response]`.

    Args:
        ask: sends a challenge (base64) and gives the client's line.

    Raises:
        CommandError: 504 an unknown mechanism, 501 what is no response, or `*`.
    """
    name, _, initial = argument.partition(" ")
    mechanism = mechanisms.start(name) if name.upper() in MECHANISMS else None
    if mechanism is None:
        raise CommandError(504, "5.5.4", "Unknown authentication mechanism")
    challenge = mechanism.first_challenge()
    # RFC 4954 §4: "=" stands for an empty initial response.
    response = initial.strip(" ").encode() or None
    try:
        while True:
            if response is None:
                response = await ask(b64encode(challenge).decode())
            step = mechanism.step(mechanisms.decode(response))
            if isinstance(step, Credentials):
                return step
            challenge, response = step, None
    except SaslError as error:
        # RFC 4954 §4: 501 for invalid base64, and for "*", with which a client gives up.
        raise CommandError(501, "5.5.2", str(error)) from None
