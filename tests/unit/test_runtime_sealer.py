"""What is sealed opens with its key, in its place, unchanged; and with nothing else."""

import threading
from pathlib import Path

import pytest

from duckmail.errors import Unavailable
from duckmail.runtime.sealer import Sealer, open_sealer

OLD, NEW = bytes(32), bytes(range(32))


def test_it_opens_what_it_sealed() -> None:
    sealed = Sealer([OLD]).seal(b"secret", "here")
    assert b"secret" not in sealed
    assert sealed != Sealer([OLD]).seal(b"secret", "here")
    assert Sealer([OLD]).unseal(sealed, "here") == b"secret"
    assert Sealer([NEW, OLD]).unseal(sealed, "here") == b"secret"


@pytest.mark.parametrize(
    ("keys", "context", "change"),
    [
        pytest.param([NEW], "here", None, id="another-key"),
        pytest.param([OLD], "there", None, id="another-place"),
        pytest.param([OLD], "here", 0, id="another-version"),
        pytest.param([OLD], "here", 12, id="another-nonce"),
        pytest.param([OLD], "here", -1, id="damaged"),
    ],
)
def test_nothing_else_opens_it(keys: list[bytes], context: str, change: int | None) -> None:
    sealed = bytearray(Sealer([OLD]).seal(b"secret", "here"))
    if change is not None:
        sealed[change] ^= 1
    with pytest.raises(Unavailable):
        Sealer(keys).unseal(bytes(sealed), context)
    with pytest.raises(Unavailable):
        Sealer(keys).unseal(b"", context)


def test_the_file_is_made_once_by_however_many(tmp_path: Path) -> None:
    found: list[Sealer] = []
    threads = [threading.Thread(target=lambda: found.append(open_sealer(tmp_path / "var", {}))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sealed = found[0].seal(b"secret", "x")
    assert [each.unseal(sealed, "x") for each in found] == [b"secret"] * 8
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["seal-key"]
    assert (tmp_path / "var" / "seal-key").stat().st_mode & 0o777 == 0o600


def test_a_credential_of_systemd_comes_first(tmp_path: Path) -> None:
    (tmp_path / "seal-key").write_text(f"{NEW.hex()}\n{OLD.hex()}\n")
    sealer = open_sealer(tmp_path / "var", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert sealer.unseal(Sealer([OLD]).seal(b"s", "x"), "x") == b"s"
    assert Sealer([NEW]).unseal(sealer.seal(b"s", "x"), "x") == b"s"
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("text", ["", "zz", "00" * 16], ids=["empty", "no-hex", "short"])
def test_a_file_that_holds_no_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "seal-key").write_text(text)
    with pytest.raises(Unavailable, match="key file"):
        open_sealer(tmp_path, {})
