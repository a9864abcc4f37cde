"""i;unicode-casemap, and the base subject of SORT and THREAD."""

import time
from unicodedata import normalize

import pytest

from duckmail.mime.collation import LAST_CASED, casemap
from duckmail.mime.sortsubject import base_subject


def test_every_character_is_its_simple_titlecase_decomposed() -> None:
    """RFC 5051 §2, step by step."""
    for character in map(chr, [*range(LAST_CASED + 1), 0x1F600, 0x2F800, 0x10FFFF]):
        title = character.title()
        assert casemap(character) == normalize("NFKD", title if len(title) == 1 else character)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("aB_", "AB_", id="ascii"),
        pytest.param("käse", "KA\u0308SE", id="composed"),
        pytest.param("Ka\u0308SE", "KA\u0308SE", id="decomposed"),
        pytest.param("Straße", "STRAßE", id="two-letters-are-no-other-case"),
        pytest.param("\u03c2\u03c3\u03a3", "\u03a3\u03a3\u03a3", id="sigma"),
        pytest.param("\u01c4 \u01c5 \u01c6", "Dz\u030c Dz\u030c Dz\u030c", id="three-cases"),
        pytest.param("ﬁne", "fiNE", id="ligature"),
        pytest.param("\uff46\uff35", "FU", id="width"),
        pytest.param("東京", "東京", id="no-case"),
    ],
)
def test_casemap(text: str, key: str) -> None:
    assert casemap(text) == key


def test_order_is_that_of_uppercase() -> None:
    assert casemap("_") > casemap("a")  # as in i;ascii-casemap


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
