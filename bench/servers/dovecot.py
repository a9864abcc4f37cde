"""Dovecot 2.3 as Debian packages it, run as a program of our own, with its default durability.

Maildir or sdbox, plaintext logins on loopback, a passwd-file; everything in a folder of its own.
"""

import asyncio
import grp
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.servers.base import (
    HOST,
    IMAP,
    LMTP,
    PASSWORD,
    POP3,
    Account,
    NotInstalled,
    Server,
    free_ports,
    is_root,
    start_bound,
)
from duckmail.cli.firststart import self_signed

START_SECONDS = 20.0
MAIL_UID = 5000  # any that nobody has

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap lmtp
listen = {host}
mail_location = {format}:~/mail
mail_home = {folder}/mail/%u
first_valid_uid = 1
ssl = yes
ssl_cert = <{folder}/server.crt
ssl_key = <{folder}/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login
default_process_limit = 1000
default_client_limit = 4000
mail_max_userip_connections = 1000
lmtp_save_to_detail_mailbox = no
{identity}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 1000
}}
service lmtp {{
  inet_listener lmtp {{
    address = {host}
    port = {lmtp}
  }}
}}
"""

# Where dovecot-pop3d is installed.
POP3_CONFIG = """
protocols = $protocols pop3
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""


class Dovecot(Server):
    format = "maildir"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.name = f"dovecot-{self.format}" if self.format != "maildir" else "dovecot"
        self._process: subprocess.Popen[bytes] | None = None
        self._users: list[str] = []

    async def start(self) -> None:
        binary = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if binary is None or not Path("/usr/lib/dovecot/lmtp").exists():
            raise NotInstalled("dovecot with imapd and lmtpd")
        self._binary = binary
        self.imap, self.imaps, self.lmtp, self.pop3 = free_ports(4)
        self.offers = frozenset({IMAP, LMTP})
        for name in ("run", "state", "mail"):
            (self.folder / name).mkdir(exist_ok=True)
        key, certificate = self_signed("localhost", datetime.now(UTC))
        (self.folder / "server.key").write_bytes(key)
        (self.folder / "server.crt").write_bytes(certificate)
        (self.folder / "users").touch()
        if Path("/usr/lib/dovecot/pop3").exists():
            self.offers |= {POP3}
        config = CONFIG.format(
            folder=self.folder,
            host=HOST,
            format=self.format,
            identity=self._identity(),
            imap=self.imap,
            imaps=self.imaps,
            lmtp=self.lmtp,
        )
        if POP3 in self.offers:
            config += POP3_CONFIG.format(pop3=self.pop3)
        (self.folder / "dovecot.conf").write_text(config)
        os.chown(self.folder / "mail", *self._owner())
        self._process = start_bound([binary, "-F", "-c", str(self.folder / "dovecot.conf")])
        await self._ready()

    def _owner(self) -> tuple[int, int]:
        return (MAIL_UID, MAIL_UID) if is_root() else (os.getuid(), os.getgid())

    def _identity(self) -> str:
        if is_root():
            return ""  # Debian's users dovecot and dovenull
        user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
        names = ["anvil", "imap-login", "imap-urlauth-login", "stats"]
        if POP3 in self.offers:
            names.append("pop3-login")
        services = "".join(f"service {name} {{\n  chroot =\n}}\n" for name in names)
        return (
            f"default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}\n{services}"
        )

    async def _ready(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                if self._process is None or self._process.poll() is not None:
                    raise NotInstalled(f"dovecot does not start, see {self.folder}/log")
                try:
                    reader, writer = await asyncio.open_connection(HOST, self.imap)
                    greeting = await reader.readline()
                    writer.close()
                    if greeting.startswith(b"* OK"):
                        return
                except OSError:
                    pass
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._process.wait, 20)
            self._process = None

    async def add_accounts(self, accounts: Sequence[Account]) -> None:
        uid, gid = self._owner()
        self._users += [f"{account.address}:{{PLAIN}}{PASSWORD}:{uid}:{gid}::::" for account in accounts]
        (self.folder / "users").write_text("\n".join(self._users) + "\n")

    @property
    def version(self) -> str:
        printed = subprocess.run([self._binary, "--version"], capture_output=True, text=True, check=True).stdout
        return f"Dovecot {printed.split()[0]}, {self.format}"

    @property
    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return (self._process.pid,)


class DovecotSdbox(Dovecot):
    format = "sdbox"
