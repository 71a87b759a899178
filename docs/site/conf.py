"""The documentation as a site, of the same files that GitHub shows: the repository is the source, `make site` builds it.

Links to a page, with its anchor, become links of the site; a link to any other file of the repository brings the file along. docs/README.md is
the index, and the order of the navigation is that of its links.
"""

import pathlib
import re
import shutil
import tomllib

from pygments.lexers.special import TextLexer

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)")

project = "sokuhai"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
copyright = "the sokuhai authors, BSD-2-Clause"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "roles/*/README.md", "lab/**README.md", "bench/README.md"]
# GitHub's way to name a heading
myst_heading_anchors = 6
html_theme = "furo"
html_title = f"sokuhai {release}"
html_copy_source = False
# an error message keeps the quotation marks that it has
smartquotes = False
html_show_sphinx = False
html_use_index = False
html_static_path = ["static"]
html_css_files = ["tables.css"]


def navigation():
    """Pages of docs/README.md as [(caption, [page, …])], in its order; each heading there begins another part."""
    parts = [("", ["docs/README"])]
    for line in (ROOT / "docs/README.md").read_text().splitlines():
        if line.startswith("## "):
            parts.append((line[3:], []))
        for target in LINK.findall(line):
            path = (ROOT / "docs" / target).resolve()
            if path.is_relative_to(ROOT):
                page = str(path.relative_to(ROOT).with_suffix(""))
                if page != root_doc and not any(page in pages for _, pages in parts):
                    parts[-1][1].append(page)
    return parts


def add_navigation(app, page, content):
    if page == root_doc:
        for caption, pages in navigation():
            lines = [
                "```{toctree}",
                ":hidden:",
                f":caption: {caption}" if caption else "",
                *(f"/{p}" for p in pages),
                "```",
            ]
            content[0] += "\n".join(["\n", *filter(None, lines)])


def front_page(app, error):
    if not error and app.builder.format == "html":
        shutil.copyfile(pathlib.Path(app.outdir, "README.html"), pathlib.Path(app.outdir, "index.html"))


def setup(app):
    # GitHub draws it; here it would take a script from elsewhere
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", add_navigation)
    app.connect("build-finished", front_page)
