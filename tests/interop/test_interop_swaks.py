"""swaks, the mail tester's tool, over LMTP."""

import re

import pytest

from tests.interop.programs import Run
from tests.support.server_process import HOST, Account, ServerProcess


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="plain"),
        pytest.param(["--pipeline"], id="pipelining"),
        pytest.param(["-tls"], id="starttls"),
        pytest.param(["-tls", "--pipeline"], id="starttls-and-pipelining"),
    ],
)
def test_swaks(options: list[str], server: ServerProcess, account: Account, run: Run) -> None:
    """Three recipients, one of them unknown and one with a label: two copies in one account are one message."""
    if "-tls" in options and "TLS supported" not in run("swaks", "--support"):
        pytest.skip("swaks has no TLS here: it needs Net::SSLeay (libnet-ssleay-perl)")
    other = server.add_account(f"other-{account.address.partition('@')[0]}")
    label = account.address.replace("@", "+label@")
    argv = ["--protocol", "LMTP", "--server", HOST, "--port", str(server.lmtp_port), "--helo", "relay.test"]
    argv += ["--from", "sender@example.org", "--to", f"{other.address},nobody@mail.test,{label}"]
    argv += ["--header", "Subject: swaks", "--header", "Message-ID: <swaks@example.org>"]
    argv += ["--body", "first\\n.leading dot\\nlast", "--timeout", "20"]
    said = run("swaks", *argv, *options)
    assert len(re.findall(r"^(?:<-|<~) +250 2\.1\.5 ", said, re.MULTILINE)) == 2, said
    assert len(re.findall(r"^(?:<\*\*|<~\*) +550 5\.1\.1 ", said, re.MULTILINE)) == 1, said
    assert len(re.findall(r"250 2\.0\.0 OK id=[0-9a-f]{24}", said)) == 2, said
    assert ("TLS started" in said) == ("-tls" in options)
    for one in (account, other):
        [message] = server.messages(one)
        assert message.startswith(b"Return-Path: <sender@example.org>\r\nDelivered-To: ")
        assert b"\r\n\r\nfirst\r\n.leading dot\r\nlast\r\n" in message
