"""The keys that secrets are sealed with: a new one, and everything sealed with it. Works beside a running server."""

import argparse
import os

from duckmail.app.services import open_services
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.config.schema import Config
from duckmail.runtime import loop
from duckmail.runtime.sealer import KeyFile
from storage.sealed import SealedFields


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    rotate = actions.add_parser("rotate", help="make a new key, and seal everything with it; the old keys still open")
    rotate.add_argument(
        "--no-new-key", action="store_true", help="seal everything with the first key of the key file as it is"
    )
    config_arguments(rotate)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    if not args.no_new_key:
        file = KeyFile.find(config.server.data, os.environ)
        file.add()
        print(f"a new key is the first one of {file.path}")
    return loop.run(_reseal(config))


async def _reseal(config: Config) -> int:
    async with databases(config, attach=True) as found, open_services(config, found, f"cli:{os.getpid()}") as services:
        result = await SealedFields(services.store.database, services.sealer).reseal()
    for field, each in result.items():
        if each.sealed or each.lost:
            print(f"{field}: {each.sealed} sealed anew, {each.lost} that no key of the key file opens")
    lost = sum(each.lost for each in result.values())
    print(f"{sum(each.sealed for each in result.values())} sealed anew, {lost} left as they were")
    return 1 if lost else 0
