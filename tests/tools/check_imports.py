"""Imports every module of the product alone, in a fresh interpreter: finds cycles and imports that only luck resolves.

Each runs as a fork of one warm process, in which third-party packages are loaded already and ours are not.
"""

import importlib
import os
import sys
import traceback
import warnings

from tests.tools.common import PACKAGES, module_name, product_files, report

WARM = ("aiohttp.web", "argon2", "cryptography.x509", "gridfs", "orjson", "pydantic", "pymongo", "redis.asyncio")
SCRIPTS = {"storage.embedded.launch"}  # run as programs, never imported


def imports_alone(module: str) -> str:
    """Why `module` cannot be imported first of all; empty when it can."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            importlib.import_module(module)
            message = b""
        except BaseException:
            message = traceback.format_exc().strip().splitlines()[-1].encode()[:1000]
        os.write(writer, message)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        message = stream.read()
    os.waitpid(child, 0)
    return message.decode("utf-8", "replace")


def check() -> tuple[list[str], str]:
    warnings.simplefilter("error")
    for package in WARM:
        importlib.import_module(package)
    for name in list(sys.modules):
        if name.split(".")[0] in PACKAGES:
            del sys.modules[name]
    modules = [name for name in map(module_name, product_files()) if name not in SCRIPTS]
    found = {module: imports_alone(module) for module in modules}
    return [f"{module}: {why}" for module, why in found.items() if why], f"{len(modules)} modules import alone"


if __name__ == "__main__":
    sys.exit(report("imports", *check()))
