"""An account with mail in its INBOX, for tests of the API."""

from dataclasses import dataclass

from duckmail.model.account import Principal
from duckmail.model.message import NewMessage
from duckmail.services.mail import Mail
from tests.support.api import Api

NOBODY = "0123456789abcdef01234567"

PICTURE = (
    b"From: =?utf-8?q?J=C3=B6rg?= <joerg@x.example>\r\nTo: a@b.example, c <c@d.example>\r\nCc: e@f.example\r\n"
    b"Subject: a picture\r\nList-ID: Foo <foo.example>\r\nList-Unsubscribe: <mailto:u@x.example>\r\n"
    b"References: <a@b> <c@d>\r\nMessage-ID: <1@x>\r\nMIME-Version: 1.0\r\nDate: Mon, 02 Nov 2026 10:00:00 +0100\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/related; boundary=c\r\n\r\n"
    b'--c\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hello <img src="cid:img"> <img src="cid:other"></p>\r\n'
    b"--c\r\nContent-Type: image/png; name=x.png\r\nContent-ID: <img>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"aGVsbG8gd29ybGQ=\r\n--c--\r\n"
    b"--b\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Disposition: attachment; filename=page.html\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<script>alert(1)</script> gr=FC=DFe\r\n--b--\r\n"
)


@dataclass(slots=True)
class Posted:
    api: Api
    user: str
    mailbox: str
    mail: Mail

    @property
    def messages(self) -> str:
        return f"/users/{self.user}/mailboxes/{self.mailbox}/messages"

    async def post(self, raw: bytes, flags: tuple[str, ...] = (), path: str = "INBOX", prefix: bytes = b"") -> int:
        new = NewMessage(await self.mail.prepare(raw), flags, prefix=prefix)
        return (await self.mail.append(path, [new]))[0].uid

    async def path_id(self, path: str) -> str:
        return (await self.mail.mailbox(path)).id


async def open_posted(api: Api, username: str = "anna") -> Posted:
    user = await api.make_user(username)
    mail = Mail(api.store, Principal(user, username))
    return Posted(api, user, (await mail.mailbox("INBOX")).id, mail)
