"""Another client of a busy server, in a process of its own: `python -m tests.faults.neighbour PORT NAME PASSWORD`.

Asks NOOP every few milliseconds until its standard input ends; then prints how long it waited, in milliseconds: the
longest wait, the 99th percentile, the median, and how often it asked.
"""

import imaplib
import json
import select
import sys
import time


def main(port: int, name: str, password: str) -> dict[str, float]:
    client = imaplib.IMAP4("127.0.0.1", port, timeout=120)
    client.login(name, password)
    client.select("INBOX")
    print("ready", flush=True)
    waits = []
    while not select.select([sys.stdin], [], [], 0.005)[0]:
        begun = time.monotonic()
        client.noop()
        waits.append((time.monotonic() - begun) * 1000)
    client.logout()
    waits.sort()
    return {
        "longest": round(waits[-1], 1),
        "p99": round(waits[int(len(waits) * 0.99)], 1),
        "median": round(waits[len(waits) // 2], 1),
        "asked": len(waits),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), sys.argv[2], sys.argv[3])))
