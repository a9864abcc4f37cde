"""A Postfix of its own on loopback: own configuration, queue, port and log in a temporary folder."""

import os
import pwd
import re
import shutil
import smtplib
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.server_process import DOMAIN, HOST, wait_until

SECONDS = 60.0

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = relay.test
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
virtual_mailbox_domains = {domain}
virtual_transport = lmtp:inet:{host}:{lmtp}
lmtp_tls_security_level = may
smtputf8_enable = yes
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
default_destination_concurrency_failed_cohort_limit = 0
"""

SERVICES = """
{host}:{smtp} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """`with Postfix(lmtp_port) as relay`: running. What arrives for `DOMAIN` goes to the LMTP server on loopback.

    `settings`: more lines of main.cf.
    """

    def __init__(self, lmtp_port: int, settings: str = "") -> None:
        if shutil.which("postfix") is None:
            pytest.skip("postfix is not installed")
        if os.geteuid() != 0:
            pytest.skip("postfix must be started by root")
        # Not in pytest's folder: Postfix's own user has to get in.
        self.folder = Path(tempfile.mkdtemp(prefix="duckmail-postfix-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        for name in ("queue", "data", "config"):
            (self.folder / name).mkdir()
        owner = pwd.getpwnam("postfix")
        os.chown(self.folder / "data", owner.pw_uid, owner.pw_gid)
        values = {"folder": self.folder, "host": HOST, "smtp": self.port, "lmtp": lmtp_port, "domain": DOMAIN}
        (self.folder / "config/main.cf").write_text(MAIN.format(**values) + settings)
        (self.folder / "config/master.cf").write_text(SERVICES.format(**values))

    def __enter__(self) -> "Postfix":
        try:
            done = self._postfix("start")
            assert done.returncode == 0, done.stdout + self.log()
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # Only the master whose pid is in this queue folder.
            self._postfix("stop")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _postfix(self, command: str) -> subprocess.CompletedProcess[str]:
        argv = ["postfix", "-c", str(self.folder / "config"), command]
        return subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
        )

    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def submit(self, message: bytes, *recipients: str, sender: str, options: tuple[str, ...] = ()) -> None:
        """Hands a message over; Postfix takes every recipient."""
        with smtplib.SMTP(HOST, self.port, local_hostname="client.test", timeout=SECONDS) as client:
            assert client.sendmail(sender, recipients, message, mail_options=options) == {}

    def queue(self) -> list[Path]:
        """What has not been delivered, returned or thrown away yet."""
        folders = ("maildrop", "incoming", "active", "deferred", "hold")
        return [file for name in folders for file in (self.folder / "queue" / name).glob("**/*") if file.is_file()]

    def wait_until_empty(self) -> None:
        try:
            wait_until(lambda: not self.queue(), SECONDS, "Postfix's queue to be empty")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-6000:]}") from None

    def statuses(self) -> dict[str, str]:
        """Recipient -> how its latest attempt by LMTP ended, as Postfix logs it: `sent`, `bounced`, `deferred`."""
        found = re.findall(r"/lmtp\[\d+\]: \w+: to=<([^>]*)>.* status=(\w+)", self.log())
        return dict(found)
