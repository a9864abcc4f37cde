"""The documents name files that exist, commands that exist, and keys that exist."""

import re
import tomllib
from pathlib import Path

import pytest

from duckmail.cli.commands import COMMANDS
from duckmail.config.schema import Config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
FILE = re.compile(r"`((?:duckmail|protocols|storage|api|tests|config)/[\w./-]*)`")
KEY = re.compile(r"`([a-z]+)\.(?!py`)([a-z_]+)(?: = [^`]*)?`")
COMMAND = re.compile(r"`duckmail ([a-z]+)")


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert [file for file in FILE.findall(text) if not (ROOT / file).exists()] == []
    sections = {name: type(getattr(Config(), name)).model_fields for name in Config.model_fields}
    assert [(name, key) for name, key in KEY.findall(text) if name in sections and key not in sections[name]] == []
    assert set(COMMAND.findall(text)) <= {command.name for command in COMMANDS}


def test_examples_of_configuration_are_valid() -> None:
    for page in PAGES:
        for example in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL):
            Config.model_validate(tomllib.loads(example), context={"base": ROOT})


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    decisions = sorted((ROOT / "docs/adr").glob("0*.md"))
    assert decisions
    assert [decision.name for decision in decisions if f"({decision.name})" not in listed] == []
