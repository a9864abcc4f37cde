"""Access tokens of the API: made for programs by role, listed, and revoked. Works beside a running server."""

import argparse
import os
import sys
from datetime import timedelta

from duckmail.app.services import Services, open_services
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.config.units import parse_duration
from duckmail.errors import InvalidInput
from duckmail.runtime import loop
from duckmail.services.access import SERVER_ROLES
from duckmail.services.tokens import ACCOUNT_ROLE, LIFETIME
from storage.tokens import TokenRecord

ID_DIGITS = 16  # of a token's digest, that lists show
LONGEST_NOTE = 200
_ROLES = (*sorted(SERVER_ROLES), ACCOUNT_ROLE)


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a token and print it; it cannot be read back")
    create.add_argument("role", choices=_ROLES, metavar="ROLE", help=", ".join(_ROLES))
    create.add_argument("--user", default="", help="login name of the account; for the role user, and it alone")
    create.add_argument(
        "--ttl",
        type=_lasting,
        help=f'how long it lasts from its last use, such as "90 d" (default: 14 days; at most {LIFETIME.days})',
    )
    create.add_argument("--note", default="", help="whom it is for, shown by `list`")
    listed = actions.add_parser("list", help="print the tokens of all server roles")
    listed.add_argument("--user", default="", help="those of this account instead")
    revoke = actions.add_parser("revoke", help="end a token at once")
    revoke.add_argument("id", help="as `list` prints it")
    for action in (create, listed, revoke):
        config_arguments(action)


def _lasting(text: str) -> timedelta:
    try:
        found = timedelta(seconds=float(str(parse_duration(text))))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not timedelta(minutes=1) <= found <= LIFETIME:
        raise argparse.ArgumentTypeError(f"between a minute and {LIFETIME.days} days")
    return found


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    actions = {"create": _create, "list": _list, "revoke": _revoke}

    async def main() -> None:
        async with (
            databases(config, attach=True) as found,
            open_services(config, found, f"cli:{os.getpid()}") as services,
        ):
            await actions[args.action](services, args)

    loop.run(main())
    return 0


async def _create(services: Services, args: argparse.Namespace) -> None:
    if len(args.note) > LONGEST_NOTE or not args.note.isprintable():
        raise InvalidInput(f"A note is one line of at most {LONGEST_NOTE} characters")
    user = await services.users.sign_in_name(args.user) if args.user else None
    if args.user and user is None:
        raise InvalidInput(f"There is no account {args.user}")
    token = await services.tokens.issue(args.role, user, ttl=args.ttl, note=args.note)
    print(token)
    print("Keep it now: it is stored as a digest only, and cannot be shown again.", file=sys.stderr)


async def _list(services: Services, args: argparse.Namespace) -> None:
    if args.user:
        user = await services.users.sign_in_name(args.user)
        if user is None:
            raise InvalidInput(f"There is no account {args.user}")
        _print(await services.tokens.of_user(user.id))
        return
    for role in sorted(SERVER_ROLES):
        _print(await services.tokens.of_role(role))


def _print(tokens: list[TokenRecord]) -> None:
    for token in tokens:
        name = token.digest.hex()[:ID_DIGITS]
        print(f"{name}  {token.role:<11}  {token.created:%Y-%m-%d}  until {token.expires:%Y-%m-%d %H:%M}  {token.note}")


async def _revoke(services: Services, args: argparse.Namespace) -> None:
    revoked = await services.tokens.revoke_named(args.id)
    print(f"revoked a token of the role {revoked.role}")
