"""The documentation as a site: every page is in its navigation; built strictly, at full size only, since that installs Sphinx."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from role_modules import ROOT, load

full_only = pytest.mark.skipif(
    not os.environ.get("SOKUHAI_FULL"), reason="Sphinx is installed with SOKUHAI_FULL=1 only"
)
PATTERNS = ("*.md", "docs/**/*.md", "roles/*/README.md", "lab/**/README.md", "bench/README.md")


def test_the_index_leads_to_every_page_once():
    """docs/README.md is the index on GitHub, and the site's navigation is made of it."""
    parts = load("docs/site/conf.py").navigation()
    listed = [f"{page}.md" for _, pages in parts for page in pages]
    assert sorted(listed) == sorted(set(listed))
    there = {str(path.relative_to(ROOT)) for pattern in PATTERNS for path in ROOT.glob(pattern)}
    assert set(listed) == there - {"README.md"}
    assert [caption for caption, _ in parts][:3] == ["", "Begin", "Why"]


@pytest.fixture
def copy(tmp_path):
    """What is in the repository or would be added to it, in a folder of its own; the installed Sphinx is shared."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.check_output(words, cwd=ROOT, text=True).split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def build(copy, out):
    words = ["sh", copy / "tools/site", sys.executable, ROOT / ".cache/site/venv", out]
    return subprocess.run(words, capture_output=True, text=True)


def fetched(out):
    """Addresses that a browser would fetch by itself for one of the pages."""
    found = []
    for page in out.rglob("*.html"):
        for tag in re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*>", page.read_text()):
            found += re.findall(r"""(?:src|href)=["']((?:https?:)?//[^"']*)""", tag)
    for sheet in out.rglob("*.css"):
        found += re.findall(r"""(?:@import|url\()\s*["']?((?:https?:)?//[^"')]*)""", sheet.read_text())
    return found


@full_only
def test_the_site_is_built_and_fetches_nothing(copy, tmp_path):
    out = tmp_path / "out"
    done = build(copy, out)
    assert done.returncode == 0, done.stdout + done.stderr
    front = (out / "index.html").read_text()
    assert 'href="docs/first-hour.html"' in front and 'href="roles/bind/README.html"' in front
    # the link of a page to a file that is no page brings the file
    assert list((out / "_downloads").rglob("main.cf"))
    assert pathlib.Path(out / "_images/performance.svg").exists()
    assert fetched(out) == []


BROKEN = ("[x](absent1.md)", "[x](../roles/bind/README.md#absent2)", "[x](../lab/absent3.yml)", "![x](absent4.svg)")


@full_only
def test_links_that_lead_nowhere_fail_the_build_each_by_its_place(copy, tmp_path):
    with (copy / "docs/operate.md").open("a") as page:
        page.write("".join(f"\n{link}\n" for link in BROKEN))
    done = build(copy, tmp_path / "out")
    assert done.returncode != 0
    named = re.findall(r"docs/operate\.md:\d+: WARNING.*(absent\d)", done.stderr)
    assert sorted(named) == ["absent1", "absent2", "absent3", "absent4"], done.stderr
