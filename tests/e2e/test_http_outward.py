"""What a real server posts: mail to targets of HTTP, events to webhooks; and new keys for what is sealed."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.server_process import Account, Databases, ServerProcess, make_message, wait_until

DATABASE = "t_http_outward"


class Receiver(BaseHTTPRequestHandler):
    seen: list[tuple[str, dict[str, str], bytes]] = []  # noqa: RUF012 -- one server in this module

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def _forwarded_again(server: ServerProcess, account: Account) -> Any:
    """By hand, to where its only message went when it arrived."""
    inbox = f"/users/{account.id}/mailboxes/{server.api('GET', f'/users/{account.id}/mailboxes')['results'][0]['id']}"
    return server.api("POST", f"{inbox}/messages/1/forward", {"target": 1})["forwarded"]


def test_mail_and_events_are_posted(mongo_uri: str, redis_url: str, tmp_path: Path, receiver: str) -> None:
    databases = Databases(mongo_uri, DATABASE, redis_url, f"{DATABASE}:")
    with ServerProcess(tmp_path, databases, {"outbound": {"allow_networks": ["127.0.0.0/8"]}}) as server:
        server.api("POST", "/webhooks", {"type": ["user.*"], "url": f"http://u:p@{receiver}/hook"})
        anna = server.add_account("anna.posts", targets=[f"http://u:hidden7@{receiver}/mail"])
        rotated = server.run("keys", "rotate").stdout
        for field in ("users.targets", "webhooks.url"):
            assert f"{field}: 1 sealed anew, 0 that" in rotated, rotated
        message = make_message("to be posted")
        server.deliver(message, anna.address)
        wait_until(lambda: {path for path, _, _ in Receiver.seen} == {"/hook", "/mail"}, 20, "both posts")
        once_more = _forwarded_again(server, anna)
        wait_until(lambda: len([path for path, _, _ in Receiver.seen if path == "/mail"]) == 2, 20, "the second post")
        assert once_more == [{"seq": "001", "type": "http", "value": f"http://u:********@{receiver}/mail"}]
    first, again = ((headers, body) for path, headers, body in Receiver.seen if path == "/mail")
    assert again[1].endswith(message)
    assert (again[0]["X-Envelope-To"], again[0]["X-Envelope-From"]) == (anna.address, anna.address)
    assert again[0]["Authorization"] == first[0]["Authorization"]
    by_path = {path: (headers, body) for path, headers, body in reversed(Receiver.seen)}
    told = json.loads(by_path["/hook"][1])
    assert (told["ev"], told["user"]) == ("user.created", anna.id)
    headers, body = by_path["/mail"]
    assert body.endswith(message)
    assert headers["X-Envelope-To"] == anna.address
    assert headers["Authorization"] == "Basic dTpoaWRkZW43"
