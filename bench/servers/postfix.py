"""Postfix as Debian packages it, run as a program of our own, with its default durability; only root can start it.

It takes mail from loopback without a login (Debian's package brings no SASL server of its own), delivers what is for
accounts into maildirs, and relays the rest. Everything is in a folder of its own.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.servers.base import (
    DOMAIN,
    HOST,
    SUBMISSION,
    Account,
    Inbox,
    NotInstalled,
    Server,
    free_ports,
    is_root,
    start_bound,
)

START_SECONDS = 30.0
STOP_SECONDS = 20.0
MAIL_UID = 5000  # any that nobody has

# What is bound to us loses that when it changes its user, as master does: a shell passes the signal on.
KEEPER = """trap 'kill $!' TERM; "$@" & wait; wait"""

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = mail.test
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/users
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_mailbox_limit = 0
relayhost = {relayhost}
"""

# As Debian's, with a port of its own, what is needed, and nothing in a chroot.
SERVICES = """
{host}:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class MaildirInbox(Inbox):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def count(self) -> int:
        new = self._folder / "new"
        return len(os.listdir(new)) if new.is_dir() else 0


class Postfix(Server):
    name = "postfix"
    offers = frozenset({SUBMISSION})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._users: list[str] = []

    async def start(self) -> None:
        binary = shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if binary is None:
            raise NotInstalled("postfix")
        self._binary = Path(binary)
        if not is_root():
            raise NotInstalled("postfix must be started by root")
        (self.submission,) = free_ports(1)
        for name in ("queue", "data", "config", "mail"):
            (self.folder / name).mkdir(exist_ok=True)
        owner = pwd.getpwnam("postfix")
        os.chown(self.folder / "data", owner.pw_uid, owner.pw_gid)
        os.chown(self.folder / "mail", MAIL_UID, MAIL_UID)
        (self.folder / "users").touch()
        relayhost = f"[{HOST}]:{self.relay}" if self.relay else ""
        main = MAIN.format(folder=self.folder, domain=DOMAIN, uid=MAIL_UID, relayhost=relayhost)
        (self.folder / "config" / "main.cf").write_text(main)
        (self.folder / "config" / "master.cf").write_text(SERVICES.format(host=HOST, port=self.submission))
        self._run("check")  # makes the folders of the queue
        master = Path(self._setting("daemon_directory")) / "master"
        command = ["/bin/sh", "-c", KEEPER, "sh", str(master), "-c", str(self.folder / "config"), "-d"]
        with (self.folder / "printed").open("ab") as printed:
            self._process = start_bound(command, stdout=printed, stderr=printed)
        await self._ready()

    def _setting(self, name: str) -> str:
        command = [str(self._binary.with_name("postconf")), "-c", str(self.folder / "config"), "-h", name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    async def _ready(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                if self._process is None or self._process.poll() is not None:
                    raise NotInstalled(f"postfix does not start: {(self.folder / 'printed').read_text()[-500:]}")
                try:
                    reader, writer = await asyncio.open_connection(HOST, self.submission)
                    greeting = await reader.readline()
                    writer.close()
                    if greeting.startswith(b"220"):
                        return
                except OSError:
                    pass
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, STOP_SECONDS)
            self._process = None

    def _run(self, action: str) -> None:
        command = [str(self._binary), "-c", str(self.folder / "config"), action]
        subprocess.run(command, capture_output=True, check=True, timeout=STOP_SECONDS)

    async def add_accounts(self, accounts: Sequence[Account]) -> None:
        self._users += [f"{account.address} {account.name}/" for account in accounts]
        (self.folder / "users").write_text("\n".join(self._users) + "\n")
        await asyncio.to_thread(self._run, "reload")  # its processes have read the file already

    async def inbox(self, account: Account) -> Inbox:
        return MaildirInbox(self.folder / "mail" / account.name)

    @property
    def version(self) -> str:
        return f"Postfix {self._setting('mail_version')}, maildir"

    @property
    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return (self._process.pid,)
