"""MTA-STS: records and policies as RFC 8461 has them, and what is none."""

import pytest

from duckmail.services.transport.sts import Malformed, Mode, Policy, parse, record_id

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        pytest.param(["v=STSv1; id=20160831085700Z;"], "20160831085700Z", id="of-the-RFC"),
        pytest.param(["v=STSv1;id=a1"], "a1", id="no-blanks"),
        pytest.param(["v=STSv1; other=x; id=a1; more=y"], "a1", id="extensions"),
        pytest.param(["v=spf1 -all", "v=STSv1; id=a1"], "a1", id="other-records"),
        pytest.param(["v=STSv1; id=a1", "v=STSv1; id=a2"], "", id="two-are-none"),
        pytest.param(["v=STSv2; id=a1"], "", id="another-version"),
        pytest.param(["id=a1; v=STSv1"], "", id="version-not-first"),
        pytest.param(["v=STSv1; id=a-1"], "", id="bad-id"),
        pytest.param(["v=STSv1; id=" + "a" * 33], "", id="long-id"),
        pytest.param(["v=STSv1"], "", id="no-id"),
        pytest.param([], "", id="none"),
    ],
)
def test_records(texts: list[str], found: str) -> None:
    assert record_id(texts) == found


def test_a_policy() -> None:
    policy = parse(POLICY)
    assert (policy.mode, policy.mx, policy.max_age) == (
        Mode.ENFORCE,
        ("mail.example.com", "*.example.net"),
        604800,
    )
    assert parse(POLICY.replace(b"\r\n", b"\n")) == policy
    assert parse(POLICY + b"new_field: 3\n").mx == policy.mx
    assert parse(POLICY + b"mode: none\n").mode is Mode.ENFORCE
    assert parse(POLICY.replace(b"604800", b"9999999999")).max_age == 31_557_600
    assert parse(b"version: STSv1\nmode: none\nmax_age: 0\n").mode is Mode.NONE


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html></html>", id="html"),
        pytest.param(POLICY.replace(b"STSv1", b"STSv2"), id="version"),
        pytest.param(POLICY.replace(b"enforce", b"strict"), id="mode"),
        pytest.param(POLICY.replace(b"604800", b"a week"), id="age"),
        pytest.param(POLICY.replace(b"max_age: 604800\r\n", b""), id="no-age"),
        pytest.param(b"version: STSv1\nmode: enforce\nmax_age: 1\n", id="no-mx"),
        pytest.param(POLICY.replace(b"mail.example.com", b"mail..example"), id="bad-pattern"),
        pytest.param(POLICY.replace(b"mail.example.com", "ü.example".encode()), id="beyond-ascii"),
        pytest.param(POLICY + b"mx: a.example\n" * 200, id="too-many"),
    ],
)
def test_what_is_no_policy(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mail.example.com", True),
        ("MAIL.example.com.", True),
        ("a.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
        ("mail.example.org", False),
    ],
)
def test_patterns(host: str, allowed: bool) -> None:
    assert Policy(Mode.ENFORCE, ("mail.example.com", "*.example.net"), 1).allows(host) == allowed
