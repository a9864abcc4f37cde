"""A client for Marionette, the remote control of Mozilla's programs: `length:JSON` over TCP."""

import json
import socket
from typing import Any

SCRIPT_SECONDS = 170.0
ANSWER_SECONDS = SCRIPT_SECONDS + 10


class Marionette:
    """`with Marionette(port) as remote:` a session that runs scripts with the program's own rights."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
        self._reader = self._socket.makefile("rb")
        self._number = 0
        self._read()  # its greeting
        self.call("WebDriver:NewSession")
        self.call("WebDriver:SetTimeouts", script=int(SCRIPT_SECONDS * 1000))
        self.call("Marionette:SetContext", value="chrome")

    def __enter__(self) -> "Marionette":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._socket.close()

    def _read(self) -> Any:
        length = bytearray()
        while (octet := self._reader.read(1)) != b":":
            assert octet, "the program has ended"
            length += octet
        return json.loads(self._reader.read(int(length)))

    def call(self, command: str, **parameters: object) -> Any:
        """The result of one command; an AssertionError with what the program says if it failed."""
        self._number += 1
        data = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(data), data))
        _, number, error, result = self._read()
        assert number == self._number
        assert error is None, f"{command}: {error}"
        return result

    def run(self, script: str, *arguments: object) -> Any:
        """What an asynchronous function with this body returns; `parameters` in it are the arguments."""
        body = f"""
            const [parameters, done] = arguments;
            (async () => {{ {script} }})().then(
                value => done({{ value: value ?? null }}),
                error => done({{ error: `${{error}} ${{error?.stack ?? ""}}` }}),
            );"""
        found = self.call("WebDriver:ExecuteAsyncScript", script=body, args=[list(arguments)], sandbox="system")[
            "value"
        ]
        assert found is not None, f"no end of {arguments[0]}: what it waited for is gone"
        assert "error" not in found, found["error"]
        return found["value"]
