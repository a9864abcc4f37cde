"""Words of the index for substrings: whoever has one that holds a string holds the string."""

import random

import pytest

from duckmail.mime.grams import BODY, HEADER
from duckmail.mime.words import FIELD, NAME, Vocabulary, common, words

HEAD = "subject: re: käse\nx-mailer:  mutt 1.0 \nno field\nlist-id: a:b\n"


@pytest.mark.parametrize(
    ("word", "there"),
    [
        pytest.param(f"{HEADER}re:", True, id="between-white-space"),
        pytest.param(f"{HEADER}re", True, id="letters-of-it"),
        pytest.param(f"{BODY}käse", False, id="header-is-not-body"),
        pytest.param(f"{BODY}user@x.org", True, id="address"),
        pytest.param(f"{BODY}org", True, id="part-of-an-address"),
        pytest.param(f"{FIELD}x-mailer:mutt 1.0", True, id="field"),
        pytest.param(f"{FIELD}list-id:a:b", True, id="field-with-colon"),
        pytest.param(f"{NAME}no field", False, id="no-field"),
        pytest.param(f"{NAME}subject", True, id="name"),
        pytest.param(f"{BODY}{'y' * 41}", False, id="too-long"),
    ],
)
def test_what_becomes_a_word(word: str, there: bool) -> None:
    assert (word in words(HEAD, f"to user@x.org\r\n{'y' * 41} end")) is there


def test_words_are_found_by_what_they_hold() -> None:
    vocabulary = Vocabulary(["bmeeting", "hmeeting", "bmeet", "ffrom:a b", "nfrom", "fx-from:a b", "bb"])
    assert vocabulary.holding("hb", "meet") == [0, 1, 2]
    assert vocabulary.holding("b", "meet") == [0, 2]
    assert vocabulary.holding("hb", "b") == [6]  # not the letter of its kind
    assert vocabulary.holding("hb", "") == vocabulary.holding("hb", "g\nh") == []
    assert vocabulary.fields("from", "b") == [3]
    assert vocabulary.fields("from", "from") == []
    assert vocabulary.fields("from", "") == [4]
    assert vocabulary.fields("fro", "") == vocabulary.fields("fro", "a") == []
    assert Vocabulary([]).holding("hb", "x") == []


def test_a_word_that_holds_a_string_is_in_a_text_that_does() -> None:
    chance = random.Random(5)
    for _ in range(100):
        text = "".join(chance.choice("ab:. \nя") for _ in range(80))
        vocabulary = Vocabulary(sorted(words(text, text)))
        needle = "".join(chance.choice("ab:.я") for _ in range(chance.randint(1, 4)))
        if vocabulary.holding(HEADER + BODY, needle):
            assert needle in text
        elif needle.isalnum():
            assert needle not in text  # no word here is too long


def test_the_commonest_come_first() -> None:
    assert common([("a", 1), ("b", 5), ("c", 5), ("d", 7)], 2, 2) == ["d", "b"]
