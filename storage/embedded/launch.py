"""Run as a script by `storage.embedded.child`: becomes the server, bound to its parent's life.

    python -I -S launch.py PARENT_PID SIGNAL PROGRAM [ARGUMENT...]

A separate program instead of `preexec_fn`, because Python code between fork and exec can deadlock in a process with
threads. Imports only what it needs: it is the first milliseconds of every start.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, number, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the call above: nobody will send the signal any more
        sys.exit("the parent is gone")
    os.execv(program, sys.argv[3:])  # noqa: S606  (our own program, no shell wanted)


if __name__ == "__main__":
    main()
