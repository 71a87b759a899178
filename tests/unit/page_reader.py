# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""A report to draw, and what a browser would take a page for: shared by the tests of the page."""

import html.parser

import sample_report


def clean(**more):
    """A report of one host, mx, that is as declared."""
    return sample_report.report({"mx": sample_report.host("clean", **more)}, code=0)


class Read(html.parser.HTMLParser):
    """Elements with their attributes, and the text of script, style and code, as a browser would take them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.texts, self.stack, self.all = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "br", "img", "input", "link", "hr"):
            self.stack.append((tag, []))

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1][0] == tag, "%s closes %s" % (tag, self.stack[-1:])
        self.texts.append((tag, "".join(self.stack.pop()[1])))

    def handle_data(self, data):
        self.all.append(data)
        for _, texts in self.stack:
            texts.append(data)

    def of(self, tag):
        return [text for name, text in self.texts if name == tag]
