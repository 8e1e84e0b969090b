"""A page is one file that loads nothing, runs nothing, and shows what it is given as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from veravox import pages


class Outline(HTMLParser):
    """What a browser would see: tags with attributes, and the text."""

    def __init__(self, markup):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def whole_page():
    table = pages.table(["clip", "EER"], [["<script>alert(1)</script>", pages.Cell("1.5 %", "best")]], "A caption")
    figure = pages.picture(b"png", 'curve "1"', "seen & judged", dark=b"dark")
    body = pages.join(table, pages.side_by_side([figure]), pages.notice("mind <this>"))
    return pages.page(
        "Title & more", [pages.Section("One", body, "one")], lead="what it is", foot="made by veravox"
    )


def test_every_tag_is_closed_and_every_text_is_shown_as_text():
    outline = Outline(whole_page())
    assert outline.open == []
    assert "script" not in [tag for tag, _ in outline.tags]
    assert "<script>alert(1)</script>" in outline.text
    assert "mind <this>" in outline.text
    assert ("img", 'curve "1"') in [(tag, attributes.get("alt")) for tag, attributes in outline.tags]


def test_a_page_loads_nothing_from_elsewhere():
    page = whole_page()
    addresses = re.findall(r'(?:src|href|srcset)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_a_page_has_a_dark_side_and_a_width_of_its_own():
    page = whole_page()
    assert page.count("prefers-color-scheme: dark") == 2
    assert "width=device-width" in page


def test_numbers_are_right_aligned_and_names_are_not():
    outline = Outline(pages.table(["name", "value", "note"], [["a", "-1.5 %", "x"], ["b", "", "2"]]))
    kinds = [attributes.get("class") for tag, attributes in outline.tags if tag == "td"]
    assert kinds == ["number", None, "number", None]


def test_an_empty_table_keeps_its_head():
    outline = Outline(pages.table(["name", "value"], []))
    assert [tag for tag, _ in outline.tags].count("th") == 2
