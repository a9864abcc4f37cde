"""Several sessions on one mailbox, each believing only what it was told; and sessions that something goes wrong in."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest

from protocols.imap.settings import ImapSettings
from tests.support.imap import ImapHouse, open_imap
from tests.support.memory import MemoryClient, MemoryConnection

SETTINGS = ImapSettings(plaintext_login=True)


@pytest.fixture
async def house(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[ImapHouse]:
    async with open_imap(mongo_uri, database_name, redis_url, per_user=20) as opened:
        yield opened


class Session:
    """A client that keeps what IMAP clients keep: a list of messages by number."""

    def __init__(self, house: ImapHouse, name: str, settings: ImapSettings = SETTINGS) -> None:
        self.name = name
        self.connection = MemoryConnection()
        serve = house.serve(settings)
        self.task = asyncio.get_running_loop().create_task(serve(self.connection))  # type: ignore[arg-type]
        self._client = MemoryClient(self.connection)
        self._tags = 0
        self.known: list[dict[str, str]] = []
        self.uidnext = 1
        self.may_expunge = True

    async def command(self, text: str, *, listen: bool = True) -> str:
        """The tagged answer without its tag; untagged data goes into `known`."""
        self._tags += 1
        tag = f"{self.name}{self._tags}"
        words = text.split(maxsplit=1)
        self.may_expunge = words[0] not in ("FETCH", "STORE", "SEARCH")
        await self._client.send(f"{tag} {text}\r\n".encode("latin-1"))
        while True:
            octets = await self._client.line(20)
            assert octets, f"{self.name}: closed during {text}"
            line = octets.decode("latin-1").removesuffix("\r\n")
            if line.startswith(f"{tag} "):
                return line.removeprefix(f"{tag} ")
            if listen:
                self.hear(line)

    def hear(self, line: str) -> None:
        if found := re.fullmatch(r"\* (\d+) EXISTS", line):
            assert int(found[1]) >= len(self.known), line
            self.known += [{} for _ in range(int(found[1]) - len(self.known))]
        elif found := re.fullmatch(r"\* (\d+) EXPUNGE", line):
            assert self.may_expunge, line
            del self.known[int(found[1]) - 1]
        elif found := re.fullmatch(r"\* (\d+) FETCH \((.*)\)", line):
            message = self.known[int(found[1]) - 1]
            if uid := re.search(r"UID (\d+)", found[2]):
                assert message.setdefault("uid", uid[1]) == uid[1], f"{self.name}: number {found[1]} changed its UID"
            if flags := re.search(r"FLAGS \(([^)]*)\)", found[2]):
                message["flags"] = " ".join(sorted(set(flags[1].split()) - {"\\Recent"}))

    async def log_in(self) -> None:
        self.hear((await self._client.line(20)).decode().strip())
        assert (await self.command("LOGIN anna secret")).startswith("OK")

    async def select(self) -> None:
        self.known = []
        assert (await self.command("SELECT INBOX")).startswith("OK")

    def leave(self) -> None:
        self._client.end()


async def act(session: Session, dice: random.Random) -> None:
    """One command, whatever comes of it."""
    count = len(session.known)
    one = str(dice.randint(1, count)) if count else "*"
    some = f"{one}:{dice.randint(1, count)}" if count else "1:*"
    flags = " ".join(dice.sample(["\\Seen", "\\Deleted", "\\Flagged", "$A", "b"], dice.randint(0, 3)))
    commands: list[Callable[[], str]] = [
        lambda: "APPEND INBOX (\\Seen) {5+}\r\n\r\nabc",
        lambda: "APPEND INBOX {5+}\r\n\r\nabc",
        lambda: f"STORE {some} +FLAGS ({flags})",
        lambda: f"STORE {some} -FLAGS.SILENT ({flags})",
        lambda: f"UID STORE 1:* FLAGS.SILENT ({flags})",
        lambda: f"FETCH {some} (UID FLAGS)",
        lambda: f"FETCH {one} (UID FLAGS RFC822.SIZE)",
        lambda: "UID FETCH 1:* (FLAGS)",
        lambda: f"COPY {one} INBOX",
        lambda: f"MOVE {one} INBOX",
        lambda: "EXPUNGE",
        lambda: "UID EXPUNGE 1:10",
        lambda: "SEARCH UNSEEN",
        lambda: "NOOP",
    ]
    text = dice.choice(commands)()
    silent = ".SILENT" in text
    before = {message.get("uid"): message.get("flags") for message in session.known} if silent else {}
    answer = await session.command(text)
    assert answer.startswith(("OK", "NO [EXPUNGEISSUED]")), f"{text}: {answer}"
    if silent and answer.startswith("OK"):
        expect(session, text, before)


def expect(session: Session, text: str, before: dict[str | None, str | None]) -> None:
    """What the client takes the flags to be after its own .SILENT, where the server said nothing else."""
    _, numbers, operation, names = text.replace("UID STORE", "STORE").split(" ", 3)
    given = set(names.strip("()").split())
    low, _, high = numbers.partition(":")
    for number, message in enumerate(session.known, 1):
        inside = high == "*" or min(int(low), int(high or low)) <= number <= max(int(low), int(high or low))
        if inside and "flags" in message and message["flags"] == before.get(message.get("uid")):
            flags = set(message["flags"].split())
            flags = given if operation.startswith("FLAGS") else flags - given
            message["flags"] = " ".join(sorted(flags))


@pytest.mark.parametrize("seed", range(4))
async def test_all_sessions_end_with_the_same_picture(house: ImapHouse, seed: int) -> None:
    """P3: whatever four sessions do to one mailbox, none sees UIDs out of order, misses a message or a flag."""
    sessions = [Session(house, name) for name in "wxyz"]

    async def play(session: Session, dice: random.Random) -> None:
        await session.log_in()
        await session.select()
        await session.command("UID FETCH 1:* (FLAGS)")
        for _ in range(40):
            await act(session, dice)
            # New messages are asked for as soon as they are announced, as clients do.
            missing = [number for number, message in enumerate(session.known, 1) if "flags" not in message]
            if missing:
                await session.command(f"FETCH {missing[0]}:* (UID FLAGS)")
            uids = [int(message["uid"]) for message in session.known if "uid" in message]
            assert uids == sorted(set(uids))

    await asyncio.gather(*(play(session, random.Random(seed * 10 + n)) for n, session in enumerate(sessions)))
    pictures = []
    for session in sessions:
        await session.command("NOOP")
        await session.command("NOOP")
        if any("flags" not in message for message in session.known):
            await session.command("FETCH 1:* (UID FLAGS)")
        pictures.append([(message["uid"], message["flags"]) for message in session.known])
    fresh = Session(house, "fresh")
    await fresh.log_in()
    await fresh.select()
    await fresh.command("FETCH 1:* (UID FLAGS)")
    truth = [(message["uid"], message["flags"]) for message in fresh.known]
    for session, picture in zip(sessions, pictures, strict=True):
        assert picture == truth, session.name
    for session in (*sessions, fresh):
        session.leave()
    await asyncio.gather(*(session.task for session in (*sessions, fresh)))


async def test_one_failing_command_harms_nobody(house: ImapHouse) -> None:
    """H1: a message whose content is lost; its session and the others go on."""
    session, other = Session(house, "a"), Session(house, "b")
    for one in (session, other):
        await one.log_in()
        await one.select()
    for _ in range(2):
        await session.command("APPEND INBOX {5+}\r\n\r\nabc")
    await house.store.database["contents"].delete_many({})
    assert (await session.command("FETCH 1 BODY.PEEK[TEXT]")).startswith("NO [CORRUPTION]")
    assert (await session.command("FETCH 1:2 FLAGS")).startswith("OK")
    assert (await other.command("NOOP")).startswith("OK")
    assert len(other.known) == 2
    for one in (session, other):
        one.leave()
    await asyncio.gather(session.task, other.task)


async def test_half_a_literal_cannot_be_mended(house: ImapHouse) -> None:
    """Octets that get lost after their number was announced: the connection is cut, not continued out of step."""
    session, other = Session(house, "a"), Session(house, "b")
    for one in (session, other):
        await one.log_in()
        await one.select()
    await session.command("APPEND INBOX {300002+}\r\n\r\n" + "x" * 300_000)
    await house.store.database["blobs.chunks"].delete_many({})
    with pytest.raises(AssertionError, match="closed during"):
        await session.command("FETCH 1 BODY.PEEK[]")
    await session.task
    assert (await other.command("NOOP")).startswith("OK")
    other.leave()
    await other.task


def words(text: str) -> list[str]:
    return [word.strip(" ") for word in text.split("¦")]


KINDS = {
    "set": words("1 ¦ 1:* ¦ * ¦ 2,1 ¦ 7 ¦ 4294967295:1 ¦ 0 ¦ $ ¦ 4294967296"),
    "item": words(
        "FLAGS ¦ ALL ¦ (UID FLAGS MODSEQ) ¦ BODY[] ¦ BODY.PEEK[1.2.HEADER]<0.9> ¦ BODY[1] ¦ RFC822.TEXT ¦ ENVELOPE"
        "¦ (BODY BODYSTRUCTURE INTERNALDATE) ¦ BODY[HEADER.FIELDS (a B)]<7.1> ¦ FLAGS (CHANGEDSINCE 1)"
    ),
    "change": words("FLAGS () ¦ +FLAGS.SILENT (\\Seen) ¦ -FLAGS \\Deleted $A ¦ (UNCHANGEDSINCE 1) FLAGS (b)"),
    "mailbox": words("INBOX ¦ Trash ¦ nowhere ¦ a//b ¦ a/b ¦ &AOQ- ¦ & ¦ % ¦ {5+}\r\ninbox ¦ {0+}\r\n"),
    "key": words(
        "ALL ¦ 1:3 UNSEEN ¦ OR SUBJECT x NOT (BODY a) ¦ UID 1:* ¦ CHARSET UTF-8 TEXT {2+}\r\n\xc3\xa4 ¦ HEADER a b"
        "¦ SINCE 1-Jan-2020 LARGER 1 ¦ KEYWORD $A RECENT ¦ MODSEQ 2 ¦ SENTON 1-Feb-2020"
    ),
    "status": words("(MESSAGES RECENT) ¦ (UNSEEN HIGHESTMODSEQ) ¦ ()"),
    "message": words("{3+}\r\nabc ¦ (\\Seen $A) {9+}\r\na: b\r\n\r\nc ¦ ~{2+}\r\n\0x ¦ {0+}\r\n"),
    "list": words('"" ¦ "" * ¦ "" %/% ¦ (SPECIAL-USE) "" * RETURN (SPECIAL-USE) ¦ a "b"'),
    "other": words('( ¦ ) ¦ NIL ¦ " ¦ "a b" ¦ ((( ¦ x ¦ () ¦ "01-Jan-2020 00:00:00 +0000"'),
}
ARGUMENTS = {
    **dict.fromkeys(("FETCH", "UID FETCH"), "set item"),
    **dict.fromkeys(("STORE", "UID STORE"), "set change"),
    **dict.fromkeys(("COPY", "UID COPY", "MOVE", "UID MOVE"), "set mailbox"),
    **dict.fromkeys(("SEARCH", "UID SEARCH"), "key"),
    **dict.fromkeys(("CREATE", "SUBSCRIBE", "UNSUBSCRIBE", "SELECT", "EXAMINE", "DELETE"), "mailbox"),
    **dict.fromkeys(("LIST", "LSUB"), "list"),
    **dict.fromkeys(("NOOP", "CHECK", "EXPUNGE", "CAPABILITY", "NAMESPACE", "CLOSE", "UNSELECT"), ""),
    "UID EXPUNGE": "set",
    "RENAME": "mailbox mailbox",
    "STATUS": "mailbox status",
    "APPEND": "mailbox message",
    "ID": "other",
    "ENABLE": "other",
}


@pytest.mark.parametrize("seed", range(3))
async def test_no_arguments_are_a_server_bug(house: ImapHouse, seed: int) -> None:
    """H1: any words behind any command are answered OK, NO or BAD, and never by an exception."""
    dice = random.Random(seed)
    session = Session(house, "g", replace(SETTINGS, max_bad=10_000))
    await session.log_in()
    answers = Counter[str]()
    for number in range(400):
        if number % 15 == 0:
            session.known = []
            await session.command("APPEND INBOX {25+}\r\nSubject: x\r\n\r\nhello world", listen=False)
            await session.command(dice.choice(["SELECT INBOX", "SELECT INBOX", "EXAMINE Trash"]), listen=False)
        name = dice.choice(sorted(ARGUMENTS))
        kinds = [kind if dice.random() < 0.9 else dice.choice(sorted(KINDS)) for kind in ARGUMENTS[name].split()]
        text = " ".join([name, *(dice.choice(KINDS[kind]) for kind in kinds)])
        session.known = []
        answer = await session.command(text, listen=False)
        assert "SERVERBUG" not in answer, text
        answers[answer.split()[0]] += 1
    assert min(answers["OK"], answers["NO"], answers["BAD"]) > 5, answers
    session.leave()
    await session.task


class Nobody:
    def view_changed(self, expunged: Sequence[int]) -> None:
        del expunged


@pytest.mark.parametrize("end", ["leaves", "vanishes", "is-cancelled"])
async def test_a_session_gives_everything_back(house: ImapHouse, end: str) -> None:
    """However it ends, its view is released and its place among the user's sessions is free."""
    mail = await house.mail("anna")
    nobody = Nobody()
    view = await mail.open("INBOX", nobody)
    mail.close_view(view, nobody)
    session = Session(house, "s")
    await session.log_in()
    await session.select()
    assert view.in_use
    if end == "leaves":
        session.leave()
    elif end == "vanishes":
        session.connection.abort()
    else:
        session.task.cancel()
    await asyncio.wait([session.task], timeout=10)
    assert session.task.done()
    assert not view.in_use
    others = [Session(house, f"t{number}") for number in range(20)]  # as many as there may be
    for other in others:
        await other.log_in()
        await other.command("NOOP")
    for other in others:
        other.leave()
    await asyncio.gather(*(other.task for other in others))
