"""A real rspamd, with no rules but its test patterns, behind the MX listener: it names the client, and is obeyed."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from duckmail.clients.http import Http
from duckmail.clients.rspamd import Rspamd
from duckmail.errors import Unavailable
from duckmail.runtime.outward import Outward
from tests.support.mx import CLIENT, MxHouse, message, shared_mx
from tests.support.server_process import free_port, wait_until

RSPAMD = shutil.which("rspamd")
START_SECONDS = 60.0
# It wants this of every installation that is to test it; the first letter is the action.
PATTERN = "JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
CONFIG = """
options {{
  filters = "";
  enable_test_patterns = true;
  url_tld = "{folder}/tld";
  hs_cache_dir = "{folder}";
  tempdir = "{folder}";
  pidfile = "{folder}/pid";
  dns {{ nameserver = ["127.0.0.1:1"]; timeout = 0.1s; }}
}}
logging {{ type = "console"; level = "info"; }}
actions {{ reject = 15; add_header = 6; rewrite_subject = 8; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; mime = true; }}
"""

pytestmark = pytest.mark.skipif(RSPAMD is None, reason="rspamd is not installed (apt-get install rspamd)")


@pytest.fixture(scope="module")
async def house(mongo_uri: str) -> AsyncIterator[MxHouse]:
    async with shared_mx(mongo_uri) as opened:
        yield opened


@pytest.fixture(scope="module")
async def rspamd(house: MxHouse, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Rspamd, Path]]:
    """It, and its log."""
    assert RSPAMD is not None
    folder, port = tmp_path_factory.mktemp("rspamd"), free_port()
    folder.chmod(0o777)  # started by root it becomes somebody else
    (folder / "tld").write_text("com\nexample\n")
    config, log = folder / "rspamd.conf", folder / "log"
    config.write_text(CONFIG.format(folder=folder, port=port))
    library = Path(RSPAMD).resolve().parents[1] / "share/rspamd/lualib"
    command = [RSPAMD, "-i", "-f", "-c", str(config), "--var", f"LUALIBDIR={library}"]
    with log.open("wb") as written:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=written, stderr=written)
    try:
        async with Http(Outward(("127.0.0.0/8",)), house.dns, ssl.create_default_context()) as http:
            await _answers(http, f"http://127.0.0.1:{port}/ping", process, log)
            yield Rspamd(http, f"http://127.0.0.1:{port}", 20, "mx.example"), log
    finally:
        process.terminate()
        process.wait(20)


async def _answers(http: Http, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                if (await http.get(url)).status == 200:
                    return
            except Unavailable:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("body", "reply", "place"),
    [
        pytest.param("Hello", "250", "INBOX", id="no-action"),
        pytest.param(f"Y{PATTERN}", "250", "Junk", id="add-header"),
        pytest.param(f"Z{PATTERN}", "250", "Junk", id="rewrite-subject"),
        pytest.param(f"X{PATTERN}", "550 5.7.1", "", id="reject"),
    ],
)
async def test_actions(house: MxHouse, rspamd: tuple[Rspamd, Path], body: str, reply: str, place: str) -> None:
    spam, log = rspamd
    subject = f"real {body[0]}"
    server = house.server(house.reception(spam=spam))
    said = await house.send(message(subject, body=body), "anna@example.com", "bert@example.com", server=server)
    assert said.startswith(reply)
    found = {path: await house.mailbox("anna", subject, path) for path in ("INBOX", "Junk")}
    assert {path for path, messages in found.items() if messages} == ({place} if place else set())
    await asyncio.to_thread(wait_until, lambda: told(log, f"real-{body[0]}@good.example"), 20, "rspamd's log")


def told(log: Path, name: str) -> bool:
    """Whether rspamd has seen this message, and whose it was."""
    wanted = (name, f"ip: {CLIENT}", "anna@example.com,bert@example.com")
    return any(all(word in line for word in wanted) for line in log.read_text().splitlines())
