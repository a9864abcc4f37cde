"""H1: what is not grammar is refused before anything runs, and a command that fails harms nobody else."""

import pytest
from bson.objectid import ObjectId

from api.schemas.users import CreateUser, ListUsers, UpdateUser
from protocols.imap.registry import COMMANDS
from tests.support.hostile import DOMAIN, House

# Command -> a right argument for each place, and what may stand there: s(tring), l(ist), f(lags),
# p(attern or list of them), o(ther).
PLACES: dict[str, str] = {
    **dict.fromkeys(("CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "NAMESPACE", "CHECK", "CLOSE", "UNSELECT"), ""),
    **dict.fromkeys(("EXPUNGE", "IDLE", "UNAUTHENTICATE", "RESETKEY"), ""),
    "LOGIN": "s:nobody s:wrong",
    "AUTHENTICATE": "s:UNKNOWN",
    "ID": "l:NIL",
    "ENABLE": "s:CONDSTORE",
    **dict.fromkeys(("SELECT", "EXAMINE", "DELETE", "SUBSCRIBE", "UNSUBSCRIBE"), "s:nowhere"),
    "CREATE": "s:INBOX",
    "RENAME": "s:nowhere s:elsewhere",
    "LIST": 's:"" p:*',
    **dict.fromkeys(("LSUB", "XLIST"), 's:"" s:*'),
    "STATUS": "s:INBOX l:(MESSAGES)",
    "APPEND": "s:nowhere o:{1+}\r\nx",
    **dict.fromkeys(("FETCH", "UID FETCH"), "o:1 l:(UID)"),
    **dict.fromkeys(("STORE", "UID STORE"), "o:1 o:+FLAGS f:(\\Seen)"),
    **dict.fromkeys(("COPY", "UID COPY", "MOVE", "UID MOVE"), "o:1 s:nowhere"),
    **dict.fromkeys(("SEARCH", "UID SEARCH"), "o:HEADER s:a s:b"),
    **dict.fromkeys(("SORT", "UID SORT"), "l:(DATE) s:UTF-8 o:ALL"),
    **dict.fromkeys(("THREAD", "UID THREAD"), "o:REFERENCES s:UTF-8 o:ALL"),
    "ESEARCH": "o:ALL",
    **dict.fromkeys(("REPLACE", "UID REPLACE"), "o:1 s:nowhere o:{1+}\r\nx"),
    "UID EXPUNGE": "o:1",
    "UIDBATCHES": "o:500",
    "CANCELUPDATE": 'o:"a1"',
    "COMPRESS": "s:DEFLATE",
    "NOTIFY": "o:NONE",
    "GENURLAUTH": "s:imap://x s:INTERNAL",
    "URLFETCH": "u:imap://x",
    "GETQUOTA": "s:nobody",
    "GETQUOTAROOT": "s:INBOX",
    "GETMETADATA": "s:INBOX p:/private/comment",
    "SETMETADATA": "s:INBOX l:()",
    **dict.fromkeys(("GETACL", "MYRIGHTS"), "s:INBOX"),
    **dict.fromkeys(("DELETEACL", "LISTRIGHTS"), "s:INBOX s:nobody"),
    "SETACL": "s:INBOX s:nobody o:lr",
}
WRONG = {"nil": "NIL", "list": "(x)", "empty-list": "()", "open-list": "(", "open-string": '"', "nothing": ""}
# An atom NIL is a string where a string may be an atom (RFC 3501 §9, astring): it must be no more than that.
RIGHT = {
    "s": ("nil",),
    "l": ("nil", "empty-list"),
    "f": ("nil", "empty-list", "list"),
    "p": ("nil", "list"),
    "u": ("nil", "list"),
}
MORE = ("ENABLE", "AUTHENTICATE", "RESETKEY", "URLFETCH")  # may have one more argument
BEFORE_LOGIN = ("LOGIN", "AUTHENTICATE", "STARTTLS")


def calls(name: str) -> list[tuple[str, bool]]:
    """Every wrong use of the command, and whether the grammar cannot but refuse it."""
    places = [place.split(":", 1) for place in PLACES[name].split(" ") if place]
    right = [argument for _, argument in places]
    found = [(" ".join([name, *right[:count]]), True) for count in range(len(right))]
    for index, (kind, _) in enumerate(places):
        for wrong, text in WRONG.items():
            refused = wrong not in RIGHT.get(kind, ())
            found.append((" ".join([name, *right[:index], text, *right[index + 1 :]]), refused))
    found.append((" ".join([name, *right, "x"]), name not in MORE))
    return [call for call in found if call[0] != "LOGIN nobody "]


def test_h1_every_command_is_in_the_table() -> None:
    assert {command.name for command in COMMANDS} == set(PLACES)


@pytest.mark.parametrize("name", [pytest.param(name, id=f"H1-{name.replace(' ', '-')}") for name in sorted(PLACES)])
async def test_h1_imap_arguments(house: House, name: str) -> None:
    async with house.imap("" if name in BEFORE_LOGIN else "carl") as client:
        if name not in BEFORE_LOGIN:
            await client.command("APPEND INBOX {1+}\r\nx")
            await client.command("SELECT INBOX")
        for text, refused in calls(name):
            answer = await client.command(text)
            assert "SERVERBUG" not in answer, text
            assert answer.startswith("BAD" if refused else ("OK", "NO", "BAD")), f"{text}: {answer}"
        assert (await client.command("NOOP")).startswith("OK")


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        pytest.param("LHLO", "501", id="H1-LHLO-missing"),
        pytest.param("MAIL", "501", id="H1-MAIL-missing"),
        pytest.param("MAIL FROM:", "501", id="H1-MAIL-no-path"),
        pytest.param("MAIL FROM:NIL", "501", id="H1-MAIL-nil"),
        pytest.param("MAIL FROM:(a@b)", "501", id="H1-MAIL-list"),
        pytest.param("MAIL FROM:<a@b> SIZE", "501", id="H1-MAIL-size-missing"),
        pytest.param("MAIL FROM:<a@b> SIZE=NIL", "501", id="H1-MAIL-size-nil"),
        pytest.param("MAIL FROM:<a@b> SIZE=-1", "501", id="H1-MAIL-size-negative"),
        pytest.param("MAIL FROM:<a@b> NIL", "555", id="H1-MAIL-unknown-parameter"),
        pytest.param("RCPT TO:<anna@mail.test>", "503", id="H1-RCPT-before-MAIL"),
        pytest.param("BDAT 1", "503", id="H1-BDAT-before-MAIL"),
        pytest.param("XFORWARD", "501", id="H1-XFORWARD-missing"),
        pytest.param("XCLIENT", "501", id="H1-XCLIENT-missing"),
        pytest.param("NIL", "500", id="H1-NIL"),
        pytest.param("", "500", id="H1-empty"),
        pytest.param("(", "500", id="H1-list"),
        pytest.param(b"\xff\xfe", "500", id="H1-eight-bit"),
        pytest.param("DATA x", "503", id="H1-DATA-argument"),
    ],
)
async def test_h1_lmtp_arguments(house: House, line: str | bytes, reply: str) -> None:
    async with house.lmtp() as client:
        await client.send((line.encode() if isinstance(line, str) else line) + b"\r\n" + b"x" * (line == "BDAT 1"))
        assert (await client.reply())[:3] == reply
        assert (await client.deliver(b"Subject: x\r\n\r\nx", f"carl@{DOMAIN}")).startswith("250")


VALUES = {"null": None, "list": [], "nested": [[{}]], "object": {"$ne": None}, "number": 1e308, "true": True}
SIGN_IN = ["username", "password", "scope", "protocol", "ip", "token"]


@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"H1-{kind}") for kind in VALUES])
@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        pytest.param("POST", "/users", sorted(CreateUser.model_fields), id="create"),
        pytest.param("PUT", f"/users/{ObjectId()}", sorted(UpdateUser.model_fields), id="update"),
        pytest.param("GET", "/users", sorted(ListUsers.model_fields), id="list"),
        pytest.param("POST", "/authenticate", SIGN_IN, id="sign-in"),
    ],
)
async def test_h1_api_arguments(house: House, method: str, path: str, fields: list[str], kind: str) -> None:
    async with house.client() as client:
        for name in fields:
            values = {"username": "nobody", "password": "wrong", name: VALUES[kind]}
            given = {"params": {name: str(VALUES[kind])}} if method == "GET" else {"json": values}
            async with client.request(method, path, **given) as response:
                text = await response.text()
            assert "InternalError" not in text, name
            assert response.status < 500 or "Exists" in text or "NotFound" in text or "AuthFail" in text, (name, text)


async def test_h1_one_failing_command_harms_nobody(house: House) -> None:
    """A damaged row is an error that nobody expected; others are at work meanwhile, on the same mailbox too."""
    async with (
        house.imap("carl") as client,
        house.imap("carl") as same,
        house.imap("anna") as other,
        house.lmtp() as lmtp,
    ):
        for one in (client, same):
            await one.command("APPEND INBOX {25+}\r\nSubject: x\r\n\r\nhello world")
            await one.command("SELECT INBOX")
        await client.command("NOOP")
        messages = house.services.store.database["messages"]
        newest = await messages.find_one(sort=[("_id", -1)]) or {}
        await messages.update_one({"_id": newest["_id"]}, {"$set": {"size": "no number"}})
        assert (await client.command("FETCH * RFC822.SIZE")).startswith("NO [SERVERBUG]")
        assert [line for line in house.errors if "command failed" in line] == house.errors != []
        house.errors.clear()
        for one in (client, same, other):
            assert (await one.command("NOOP")).startswith("OK")
        assert (await same.command("FETCH * FLAGS")).startswith("OK")
        assert (await lmtp.deliver(b"Subject: x\r\n\r\nx", f"carl@{DOMAIN}")).startswith("250")
        assert (await house.api("GET", "/health"))[0] == 200
