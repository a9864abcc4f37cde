"""Accounts: add, list, remove, and set passwords. Works beside a running server."""

import argparse
import os

from duckmail.app.services import open_services
from duckmail.cli.common import config_arguments, configuration, read_password
from duckmail.cli.databases import databases
from duckmail.config.units import parse_size, write_size
from duckmail.errors import InvalidInput
from duckmail.model.account import UserQuery
from duckmail.runtime import loop
from duckmail.services.access import SYSTEM
from duckmail.services.users import NewUser, Users

PAGE = 250


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="make an account; asks for its password")
    add.add_argument("name", help="user name to log in with; one with @ is also the address")
    add.add_argument("--address", help="mail address (default: the name, at server.domain when it has no @)")
    add.add_argument("--full-name", default="", help="the person's name")
    add.add_argument("--quota", type=_quota, default=0, help='such as "2 GiB" (default: the server\'s)')
    listed = actions.add_parser("list", help="print all accounts")
    listed.add_argument("text", nargs="?", default="", help="only those whose name or address holds this text")
    password = actions.add_parser("password", help="set a new password; asks for it")
    password.add_argument("name")
    remove = actions.add_parser("remove", help="remove an account with its mail")
    remove.add_argument("name")
    for action in (add, listed, password, remove):
        config_arguments(action)


def _quota(text: str) -> int:
    try:
        return int(str(parse_size(text)))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    password = read_password(args.name) if args.action in ("add", "password") else ""
    actions = {"add": _add, "list": _list, "password": _password, "remove": _remove}

    async def main() -> None:
        async with (
            databases(config, attach=True) as found,
            open_services(config, found, f"cli:{os.getpid()}") as services,
        ):
            await actions[args.action](services.users, args, password)

    loop.run(main())
    return 0


async def _add(users: Users, args: argparse.Namespace, password: str) -> None:
    attributes: dict[str, object] = {"name": args.full_name, "quota": args.quota}
    identifier = await users.create(
        NewUser(username=args.name, password=password, address=args.address, attributes=attributes), SYSTEM
    )
    user = await users.get(identifier, SYSTEM)
    print(f"added {user.username} with address {user.address} (id {user.id})")


async def _list(users: Users, args: argparse.Namespace, _: str) -> None:
    after = ""
    while True:
        page = await users.list(UserQuery(text=args.text.lower()), PAGE, SYSTEM, after=after)
        for account in page.accounts:
            user = account.user
            state = "" if user.active else "  disabled" if user.disabled else "  suspended"
            print(f"{user.id}  {user.username:<32}  {user.address:<40}  {write_size(account.used)}{state}")
        if not page.has_next or not page.accounts:
            return
        after = page.accounts[-1].user.id


async def _password(users: Users, args: argparse.Namespace, password: str) -> None:
    user = await _named(users, args.name)
    await users.set_password(user, password, SYSTEM)
    print(f"new password for {args.name} is set")


async def _remove(users: Users, args: argparse.Namespace, _: str) -> None:
    await users.delete(await _named(users, args.name), SYSTEM)
    print(f"removed {args.name}")


async def _named(users: Users, name: str) -> str:
    """The id of the account with this login name. Raises: InvalidInput."""
    user = await users.sign_in_name(name)
    if user is None:
        raise InvalidInput(f"There is no account {name}")
    return user.id
