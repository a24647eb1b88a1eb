"""docs/extending.md shows the very files of tests/plugin, and its tables name what exists."""

import re
from pathlib import Path

import pytest

from xai_med.backend.operations import Kind
from xai_med.blueprints import OPERATIONS

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "tests" / "plugin"
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL)
BLOCKS = list(BLOCK.finditer(TEXT))
SHOWN = {block["file"]: block["code"] for block in BLOCKS if block["file"]}
FILES = sorted(
    str(path.relative_to(PLUGIN))
    for path in PLUGIN.rglob("*")
    if path.suffix in (".py", ".toml") and path.name != "ruff.toml" and "build" not in path.parts
)


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table under a heading, without its head."""
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("file", FILES)
def test_file_of_the_example_is_shown_as_it_is(file):
    assert file in SHOWN, f"docs/extending.md has no block with title={file!r}"
    assert SHOWN[file] == (PLUGIN / file).read_text(encoding="utf-8")


def test_no_file_is_shown_that_does_not_exist_and_none_twice():
    assert sorted(block["file"] for block in BLOCKS if block["file"]) == FILES


@pytest.mark.parametrize(
    "code", [b["code"] for b in BLOCKS if b["language"] == "python" and not b["file"]], ids=lambda code: code[:30]
)
def test_other_python_on_the_page_is_python(code):
    compile(code, "docs/extending.md", "exec")


def test_the_vocabulary_lists_every_kind_once():
    listed = [name for row in rows("The vocabulary of operations") for name in re.findall(r"`([A-Z_]+)`", row[0])]
    assert sorted(listed) == sorted(kind.name for kind in Kind)


def test_the_operations_of_blueprints_are_all_named():
    listed = re.search(r"operations of a blueprint are (.*?)\.\n", TEXT, re.DOTALL)[1]
    assert re.findall(r"`(\w+)`", listed) == list(OPERATIONS)


@pytest.mark.parametrize(
    "path", [p for row in rows("Where the next one goes") for p in re.findall(r"`([^`]+)`", row[1])]
)
def test_where_the_next_one_goes_exists(path):
    assert (ROOT / path).exists()


def test_there_is_a_row_for_a_method_a_rule_and_a_backend():
    assert {"a method", "a rule", "a backend"} <= {row[0] for row in rows("Where the next one goes")}


def test_the_page_names_no_place_of_one_machine():
    assert not re.search(r"/(?:home|opt|root|tmp|work)/", TEXT)
