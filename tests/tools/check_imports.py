"""Imports every module of the product by itself, in a fresh interpreter: finds cycles and imports that only luck
resolves.

Each runs as a fork of a process that has loaded third-party packages and, of ours, only what the module imports anyway:
no module sees one that it does not ask for, and none is loaded twice for every module above it. It follows that there
may be no cycles, so these are looked for first.

Help comes at once, and a start does not load what few processes use: `NOT_AT_START`.
"""

import ast
import contextlib
import gc
import graphlib
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.tools.common import PACKAGES, ROOT, module_name, product_files, report

SCRIPTS = {"storage.embedded.launch"}  # run as programs, never imported

# What is not loaded by the import of a module: third-party packages.
NOT_AT_START: Mapping[str, set[str]] = {
    "duckmail.cli.serve": {"acme", "josepy", "requests", "segno", "webauthn"},
    "duckmail.cli.user": {"acme", "josepy", "requests", "segno", "webauthn"},
    "duckmail.cli.commands": {"aiohttp", "cryptography", "prometheus_client", "pydantic", "pymongo", "redis"},
}

Graph = Mapping[str, set[str]]


def statements(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is: not those in functions, nor those for the type checker."""
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        match todo.pop():
            case ast.Import() | ast.ImportFrom() as found:
                yield found
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=otherwise):
                todo += otherwise
            case ast.If() | ast.Try() | ast.With() | ast.ClassDef() as block:
                todo += [each for each in ast.walk(block) if isinstance(each, ast.Import | ast.ImportFrom)]
            case _:
                pass


def imported(source: str, ours: set[str]) -> tuple[set[str], set[str]]:
    """(our modules, third-party ones) that the text imports; a package comes before what is in it."""
    names: set[str] = set()
    for statement in statements(ast.parse(source)):
        if isinstance(statement, ast.Import):
            names.update(alias.name for alias in statement.names)
        elif statement.module:
            names.add(statement.module)
            names.update(name for alias in statement.names if (name := f"{statement.module}.{alias.name}") in ours)
    others = {name for name in names if name.split(".")[0] not in PACKAGES}
    parents = {name.rpartition(".")[0] for name in names - others} & ours
    return (names - others) & ours | parents, others - set(sys.stdlib_module_names)


def graph(files: Mapping[str, Path]) -> tuple[Graph, Graph]:
    """What each module imports: of ours, and of others."""
    found: dict[str, set[str]] = {}
    others: dict[str, set[str]] = {}
    for module, file in files.items():
        own, foreign = imported(file.read_text(), set(files))
        package = module.rpartition(".")[0]
        found[module] = (own | ({package} if package in files else set())) - {module}
        others[module] = foreign
    return found, others


def tree(modules: Graph) -> dict[str, list[str]]:
    """From each module to those that are imported in forks of the process that has just imported it: of what each
    imports, the one that brings most. "" is the process that has none.

    Raises: graphlib.CycleError.
    """
    brings: dict[str, set[str]] = {}
    children: dict[str, list[str]] = {}
    for module in graphlib.TopologicalSorter(modules).static_order():
        direct = sorted(modules[module])
        brings[module] = {module}.union(*(brings[each] for each in direct))
        above = max(direct, key=lambda each: len(brings[each]), default="")
        children.setdefault(above, []).append(module)
    return children


def too_soon(modules: Graph, others: Graph, start: str, refused: set[str]) -> list[str]:
    """The modules that `start` brings with it and that import something of `refused`."""
    brings, todo = {start}, [start]
    while todo:
        new = modules[todo.pop()] - brings
        brings |= new
        todo += new
    return [
        f"{module}: imports {name}, which is not for the start of {start}: import it where it is needed"
        for module in sorted(brings)
        for name in sorted(others[module])
        if name.split(".")[0] in refused
    ]


def try_all(children: Mapping[str, list[str]], above: str, problems: int) -> None:
    """Imports each module below `above` in a process of its own, which does the same for those below it; says on the
    pipe `problems` why one cannot be imported."""
    for module in children.get(above, ()):
        child = os.fork()
        if child == 0:
            try:
                importlib.import_module(module)
            except BaseException:
                why = traceback.format_exc().strip().splitlines()[-1]
                os.write(problems, f"{module}: {why}"[:1000].encode("utf-8", "replace") + b"\n")
            try_all(children, module, problems)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            os.write(problems, f"{module}: the process ended with status {status}\n".encode())


def alone(children: Mapping[str, list[str]]) -> list[str]:
    """What cannot be imported."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try_all(children, "", writer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, errors="replace") as stream:
        problems = stream.read().splitlines()
    _, status = os.waitpid(child, 0)
    return problems + ([f"the check itself ended with status {status}"] if status else [])


def check() -> tuple[list[str], str]:
    warnings.simplefilter("error")
    sys.path.insert(0, str(ROOT))
    files = {name: file for file in product_files() if (name := module_name(file)) not in SCRIPTS}
    modules, others = graph(files)
    try:
        children = tree(modules)
    except graphlib.CycleError as error:
        return ["a cycle of imports: " + " -> ".join(error.args[1])], ""
    soon = [each for start, refused in NOT_AT_START.items() for each in too_soon(modules, others, start, refused)]
    for name in sorted(set().union(*others.values())):
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    if loaded := [name for name in sys.modules if name in files]:
        return [f"{loaded[0]} is loaded already: nothing can be said"], ""
    gc.freeze()  # a collection in a child would copy all pages
    return soon + alone(children), f"{len(files)} modules import alone, without cycles"


if __name__ == "__main__":
    sys.exit(report("imports", *check()))
