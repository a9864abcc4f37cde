"""URLs of targets and the passwords in them."""

import pytest

from duckmail.errors import InvalidInput, Unavailable
from duckmail.model.target import MASK, TargetUrl, shown
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.targetpasswords import TargetPasswords

OLD, NEW = bytes(32), bytes(range(32))


@pytest.mark.parametrize(
    ("text", "user", "password", "shows"),
    [
        ("a@b.example", "", "", "a@b.example"),
        ("smtp://relay.test:25", "", "", "smtp://relay.test:25"),
        ("smtps://u:p@relay.test:465", "u", "p", f"smtps://u:{MASK}@relay.test:465"),
        ("smtps://u@relay.test", "u", "", "smtps://u@relay.test"),
        ("smtps://u%40x:p%3A:@relay.test/", "u%40x", "p%3A:", f"smtps://u%40x:{MASK}@relay.test/"),
        ("https://u:p@h.test/x?a=b@c#d", "u", "p", f"https://u:{MASK}@h.test/x?a=b@c#d"),
        ("https://h.test/x:y@z", "", "", "https://h.test/x:y@z"),
        ("https://u:a@b@h.test", "u", "a@b", f"https://u:{MASK}@h.test"),
        ("https://[::1]:80/", "", "", "https://[::1]:80/"),
        ("", "", "", ""),
    ],
)
def test_parts(text: str, user: str, password: str, shows: str) -> None:
    url = TargetUrl.parse(text)
    assert (url.user, url.password, str(url)) == (user, password, text)
    assert shown(text) == shows
    assert "password" not in repr(url)


def test_a_password_is_sealed_where_it_stands_and_opens_there_alone() -> None:
    passwords = TargetPasswords(Sealer([OLD]))
    (sealed, plain, address) = passwords.sealed(
        ["smtps://u:secret@relay.test:465", "https://h.test/x?token=1", "a@b.example"]
    )
    assert "secret" not in sealed
    assert (plain, address) == ("https://h.test/x?token=1", "a@b.example")
    assert passwords.opened(sealed) == "smtps://u:secret@relay.test:465"
    assert shown(sealed) == f"smtps://u:{MASK}@relay.test:465"
    for other in ("relay.test:465", "smtps://u:", "smtps"):
        with pytest.raises(Unavailable):
            passwords.opened(sealed.replace(other, "x" + other if other != "smtps" else "smtp"))
    with pytest.raises(Unavailable):
        TargetPasswords(Sealer([NEW])).opened(sealed)
    with pytest.raises(Unavailable):
        passwords.opened("smtps://u:~sealed~%%%@relay.test:465")


def test_what_was_shown_stands_for_what_is_known() -> None:
    passwords = TargetPasswords(Sealer([OLD]))
    known = passwords.sealed(["smtps://u:secret@relay.test:465"])
    assert passwords.sealed([shown(known[0]), "a@b.example"], known) == (*known, "a@b.example")
    for elsewhere in (f"smtps://u:{MASK}@evil.test:465", f"smtps://v:{MASK}@relay.test:465"):
        with pytest.raises(InvalidInput):
            passwords.sealed([elsewhere], known)


def test_another_key_takes_its_place() -> None:
    (sealed,) = TargetPasswords(Sealer([OLD])).sealed(["smtps://u:secret@relay.test"])
    both = TargetPasswords(Sealer([NEW, OLD]))
    (again, fresh) = both.again(sealed), both.again("smtps://u:plain@relay.test")
    only = TargetPasswords(Sealer([NEW]))
    assert (only.opened(again), only.opened(fresh)) == ("smtps://u:secret@relay.test", "smtps://u:plain@relay.test")
    assert both.again("a@b.example") == "a@b.example"


def test_without_keys_a_password_is_refused() -> None:
    with pytest.raises(Unavailable):
        TargetPasswords().sealed(["smtps://u:secret@relay.test"])
    assert TargetPasswords().sealed(["smtp://relay.test"]) == ("smtp://relay.test",)
