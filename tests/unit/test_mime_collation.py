"""i;unicode-casemap, and the base subject of SORT and THREAD."""

import time

import pytest

from duckmail.mime.collation import fold, sort_key
from duckmail.mime.sortsubject import base_subject


def test_letters_count_as_titlecase() -> None:
    assert sort_key("_") > sort_key("a") == "A"  # as in i;ascii-casemap
    assert sort_key("ä") == sort_key("Ä") == "A\u0308"
    assert sort_key("\u01c6") == sort_key("\u01c4")  # dž, DŽ: three cases
    assert sort_key("ß") == "ß"


def test_what_is_one_for_a_search() -> None:
    assert fold("STRASSE") == fold("Straße")
    assert fold("Käse") == fold("Ka\u0308SE")
    assert fold("ﬁ") == "fi"


@pytest.mark.parametrize(
    ("subject", "base", "changed"),
    [
        pytest.param("hello", "hello", False, id="nothing"),
        pytest.param("Re: hello", "hello", True, id="re"),
        pytest.param("RE [2]: hello", "hello", True, id="re-with-a-blob"),
        pytest.param("fw: Fwd:hello (FWD) (fwd) ", "hello", True, id="leaders-and-trailers"),
        pytest.param("[list] Re: [x] hello", "hello", True, id="blobs"),
        pytest.param("[list] hello", "hello", False, id="a-blob-is-no-reply"),
        pytest.param("[list]", "[list]", False, id="nothing-but-a-blob"),
        pytest.param("[fwd: Re: hello]", "hello", True, id="wrapped"),
        pytest.param("re: ", "", True, id="nothing-left"),
        pytest.param(" a \t b ", "a b", False, id="blanks"),
        pytest.param("real: x", "real: x", False, id="re-is-a-word"),
    ],
)
def test_base_subject(subject: str, base: str, changed: bool) -> None:
    assert base_subject(subject) == (base, changed)


@pytest.mark.parametrize("unit", ["re:", "[x]", "(fwd)", "[", "[fwd:", "re[a]", " "])
def test_hostile_subjects_cost_little(unit: str) -> None:
    """Milliseconds; one that takes a piece away at a time would copy a million times what is left."""
    started = time.process_time()
    base_subject(unit * 1_000_000)
    assert time.process_time() - started < 5
