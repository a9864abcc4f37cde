"""The command line: `duckmail COMMAND`.

Invariants:
- One command, one module here, one line in `commands.COMMANDS`: `arguments(parser)` and `run(args) -> exit status`.
- Only the module of the command that was asked for is imported, so that help comes at once.
- What goes wrong is told in one clear line (one per mistake of a configuration file) on standard error, without a
  traceback, and the exit status is not 0.
- Passwords come by prompt or standard input, never as arguments: those are seen by everybody on the machine.
"""

import sys


def main() -> int:
    """The console script; gives the exit status."""
    from duckmail.cli.commands import run  # noqa: PLC0415  (nothing is imported for `import duckmail.cli`)

    return run(sys.argv[1:])
