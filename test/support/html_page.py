# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A page that needs nothing else and runs nothing: every tag closed, no script, no address but into itself."""

from __future__ import annotations

from html.parser import HTMLParser

_ALONE = {"meta", "img", "input", "source"}
_CLOSED_BY_ITSELF = {"path", "rect", "circle"}


class Page(HTMLParser):
    """What a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("href", "src")]
        assert not [key for key, _ in attrs if key.startswith("on")]
        if tag not in _ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _CLOSED_BY_ITSELF
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def checked_page(text: str, most_bytes: int = 5_000_000) -> Page:
    """Parse a page and check that it stands alone."""
    page = Page(text)
    assert page.open == []
    assert "svg" in page.seen
    assert not page.seen & {"script", "link", "iframe", "object", "base"}
    assert all(place.startswith(("#e", "data:")) for place in page.addresses)
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme:dark" in text
    assert len(text) < most_bytes
    return page
