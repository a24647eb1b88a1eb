"""Writes a page for each built-in method, and the index: ``python scripts/method_pages.py [--check | --text | NAME]``.

``docs/methods`` gets the text, ``docs/images/methods`` the pictures. ``--text`` draws nothing; names draw their own
pictures only; ``--check`` writes nothing and says what is out of date. All three take the counts of the conformance
kit from the index as it is, where they fit today's kit, and measure the others. Needs the extras torch, paddle, viz.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).resolve().parent)]

from method_docs.counts import measured, written  # noqa: E402
from method_docs.examples import example_of  # noqa: E402
from method_docs.pages import index, page  # noqa: E402

from xai_med.methods.table import BUILT_IN  # noqa: E402

PAGES, IMAGES = ROOT / "docs" / "methods", ROOT / "docs" / "images" / "methods"
LARGEST_PICTURE = 60_000
"""Bytes."""


def texts(*, measure: bool) -> dict[Path, str]:
    """All pages by path, and the index."""
    target = PAGES / "README.md"
    known = written(target.read_text(encoding="utf-8")) if target.exists() and not measure else {}
    counts = {}
    for name in BUILT_IN:
        if name not in known:
            print(f"counting {name}", flush=True)
        counts[name] = known[name] if name in known else measured(name)
    return {target: index(counts), **{PAGES / f"{name}.md": page(name) for name in BUILT_IN}}


def outdated() -> list[str]:
    """What does not say or show what it should."""
    wanted = texts(measure=False)
    found = [path.name for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    found += [f"{path.name} (of no method)" for path in sorted(PAGES.glob("*.md")) if path not in wanted]
    pictures = {IMAGES / f"{name}.png" for name in pictured()}
    found += [f"{path.name} (missing)" for path in sorted(pictures) if not path.exists()]
    for path in sorted(IMAGES.glob("*.png")):
        if path not in pictures:
            found.append(f"{path.name} (shown nowhere)")
        elif path.stat().st_size >= LARGEST_PICTURE:
            found.append(f"{path.name} ({path.stat().st_size} bytes)")
    return found


def pictured() -> list[str]:
    """Names of all pictures."""
    return ["phantom", *(name for name in BUILT_IN if not example_of(name).no_picture)]


def main() -> int:
    """Write all, or say what is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where something is out of date")
    parser.add_argument("--text", action="store_true", help="write text only")
    parser.add_argument("names", nargs="*", help="whose pictures to draw; all by default")
    asked = parser.parse_args()
    if asked.check:
        found = outdated()
        print("\n".join(f"out of date: {each}" for each in found) or "all pages are up to date")
        return bool(found)
    PAGES.mkdir(parents=True, exist_ok=True)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for path, text in texts(measure=not asked.text and not asked.names).items():
        path.write_text(text, encoding="utf-8")
    if not asked.text:
        from method_docs.pictures import draw

        for name in asked.names or pictured():
            path = IMAGES / f"{name}.png"
            draw(name, path)
            print(path.relative_to(ROOT), path.stat().st_size, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
