"""The how-to pages: their code runs as it stands, their links and pictures exist."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = ("regions", "gaze", "page", "localisation", "clear", "evaluation", "profiles")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES)
def test_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="the pages use PyTorch")
    pytest.importorskip("jinja2", reason="Jinja2 is not installed")
    monkeypatch.chdir(tmp_path)
    scope = {}
    blocks = BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    assert blocks
    for code in blocks:
        exec(compile(code, f"docs/{page}.md", "exec"), scope)


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_and_pictures_of_a_page_exist(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if "://" not in target:
            assert (DOCS / target).exists(), f"{page} links to {target}"
