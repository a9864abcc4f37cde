"""The checks can fail."""

import graphlib

import pytest

from tests.tools import check_imports, check_rfc, check_sizes


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        pytest.param("# RFC 9051 §6.4.5: x", [], id="right"),
        pytest.param("BODY[HEADER] of RFC822.SIZE and message/rfc822 or RFC822", [], id="names-in-imap"),
        pytest.param("# RFC9051 §6.4", ["RFC9051"], id="no-blank"),
        pytest.param("# rfc 5321", ["rfc 5321"], id="lower-case"),
        pytest.param("# RFC 5321 section 4.1", ["RFC 5321 section 4.1"], id="section-spelt-out"),
    ],
)
def test_badly_written_citations(text: str, bad: list[str]) -> None:
    assert [found for _, found in check_rfc.citations(text)[1]] == bad


def test_citations_are_found_with_their_lines() -> None:
    assert check_rfc.citations("x\n# RFC 9051 §1, RFC 822\n# RFC 9051")[0] == {"9051": 2, "822": 2}


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        pytest.param({"title": "T", "support": "whole"}, "", id="right"),
        pytest.param({"title": "T", "support": "some"}, "must be one of", id="unknown-support"),
        pytest.param({"title": "T", "support": "part"}, "notes must say", id="part-without-notes"),
        pytest.param({"support": "whole"}, "no title", id="no-title"),
        pytest.param({"title": "T", "support": "whole", "x": ""}, "unknown keys", id="unknown-key"),
    ],
)
def test_entries_of_the_index(entry: dict[str, str], problem: str) -> None:
    found = check_rfc.problems_of_index({"1": entry})
    assert len(found) == bool(problem)
    assert problem in "".join(found)


def test_lengths_of_functions_leave_out_the_docstring() -> None:
    source = 'def f():\n    """One\n\n    two."""\n    return 1\n\n\nclass C:\n    async def g(self):\n        pass\n'
    assert sorted(check_sizes.functions(source)) == [("f", 1, 2), ("g", 9, 2)]


@pytest.mark.parametrize(
    ("source", "own", "others"),
    [
        pytest.param("from api.a import b", {"api", "api.a"}, set(), id="a-name-of-a-module"),
        pytest.param("from api import a", {"api", "api.a"}, set(), id="a-module-of-a-package"),
        pytest.param("import api.a", {"api", "api.a"}, set(), id="a-dotted-name"),
        pytest.param("import os\nimport aiohttp.web", set(), {"aiohttp.web"}, id="third-party"),
        pytest.param("try:\n    import uvloop\nexcept ImportError:\n    import api", {"api"}, {"uvloop"}, id="try"),
        pytest.param("def f():\n    import api", set(), set(), id="in-a-function"),
        pytest.param("if TYPE_CHECKING:\n    import api", set(), set(), id="for-types"),
    ],
)
def test_what_a_module_imports(source: str, own: set[str], others: set[str]) -> None:
    assert check_imports.imported(source, {"api", "api.a"}) == (own, others)


def test_modules_are_imported_below_what_brings_most() -> None:
    assert check_imports.tree({"top": {"low", "mid"}, "mid": {"low"}, "low": set(), "side": {"low"}}) == {
        "": ["low"],
        "low": ["mid", "side"],
        "mid": ["top"],
    }


def test_a_cycle_of_imports() -> None:
    with pytest.raises(graphlib.CycleError):
        check_imports.tree({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_what_is_not_for_the_start() -> None:
    modules = {"serve": {"keys", "mail"}, "keys": {"mail"}, "mail": set(), "rare": {"mail"}}
    others = {"serve": set(), "keys": {"webauthn.helpers", "orjson"}, "mail": {"orjson"}, "rare": {"acme"}}
    assert [each.split(":")[0] for each in check_imports.too_soon(modules, others, "serve", {"webauthn", "acme"})] == [
        "keys"
    ]
