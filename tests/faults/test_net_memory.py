"""What an idle connection costs, and a flood of clients that vanish: measured in a process of its own."""

import os
import subprocess
import sys

import pytest

IDLE = """
import asyncio, ssl, sys
from duckmail.runtime.loop import run
from tests.support.net import client_context, echo, serving, shared_contexts

COUNT = 300

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

CLIENTS = '''
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
kept = []
for _ in range(int(sys.argv[3])):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    if sys.argv[2] == "tls":
        client = context.wrap_socket(client)
    client.recv(100)
    client.sendall(bytes(3000))
    got = 0
    while got < 3000:
        got += len(client.recv(4000))
    kept.append(client)
print("ready", flush=True)
sys.stdin.readline()
'''

async def main():
    tls = sys.argv[1] == "tls"
    async with serving(echo, tls=shared_contexts(), implicit_tls=tls) as (listeners, port):
        async def clients(count):
            started = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CLIENTS, str(port), sys.argv[1], str(count), stdin=-1, stdout=-1)
            await started.stdout.readline()
            return started
        first = await clients(30)  # imports, arenas, and whatever else is there once
        before = resident()
        second = await clients(COUNT)
        after = resident()
        print((after - before) // COUNT)
        for process in (first, second):
            process.stdin.write(b"\\n")
            await process.wait()
        for _ in range(100):
            if not listeners.connections:
                break
            await asyncio.sleep(0.05)
        print(listeners.connections)

run(main())
"""


@pytest.mark.parametrize("kind", ["plain", "tls"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_idle_connection_stays_cheap(loop: str, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IDLE, kind],
        env={**os.environ, "DUCKMAIL_LOOP": loop, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        timeout=60,
        check=True,
    )
    octets, left = done.stdout.split()
    print(loop, kind, int(octets), "octets")
    # of the 60 KB that an idle IMAP connection may cost in all; 3,000 octets of it are what the session holds
    assert int(octets) < (45_000 if kind == "tls" else 14_000)
    assert int(left) == 0
