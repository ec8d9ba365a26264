"""Web pages: what is kept of them, their encodings, and whether they ask not to be used."""

from __future__ import annotations

import pytest

from llmos.data.reading.html import TOO_DEEP, declared_charset, read_page
from llmos.data.reading.parts import UnreadableError

PARAGRAPHS = (
    "In the early morning the two of them walked down to the harbour to look for the boat.",
    "It was not there any more; only a rope was left, and the rope had been cut with a knife.",
)
PAGE = """<!DOCTYPE html><html lang="en"><head><title>Story</title>{head}
<script>var hidden = "not a word of this";</script><style>p {{ color: red }}</style></head><body>
<nav><ul><li><a href="/">Home page</a></li><li><a href="/b">All stories</a></li></ul></nav>
<article><h1>The boat</h1><p>{0}</p><p>{1} <b>Nobody</b> knew&nbsp;why.</p></article>
<footer>Imprint and contact</footer></body></html>"""


def page(head: str = "") -> str:
    return PAGE.format(*PARAGRAPHS, head=head)


def test_paragraphs_stay_and_the_rest_goes() -> None:
    text = read_page(page().encode()).text
    assert text.split("\n\n") == [
        "The boat",
        PARAGRAPHS[0],
        PARAGRAPHS[1] + " Nobody knew\xa0why.",
    ]


@pytest.mark.parametrize(
    ("head", "robots", "tdm", "expected"),
    [
        ("", (), "", ""),
        ('<meta name="Robots" content="index, NoAI">', (), "", "noai"),
        ('<meta name="robots" content="noindex">', (), "", "noindex"),
        ('<meta name="robots" content="noimageai, nofollow">', (), "", ""),
        ('<meta name="tdm-reservation" content="1">', (), "", "tdm-reservation"),
        ('<meta name="tdm-reservation" content="0">', (), "", ""),
        ('<meta name="tdm-reservation" content="0">', (), "1", "tdm-reservation"),
        ("", ("nofollow", "noai"), "", "noai"),
        ("", ("otherbot: noindex",), "", ""),
        ("<meta name=robots>", (), "0", ""),
    ],
)
def test_directives(head: str, robots: tuple[str, ...], tdm: str, expected: str) -> None:
    assert read_page(page(head).encode(), "", robots, tdm).opted_out == expected


@pytest.mark.parametrize("encoding", ["shift_jis", "euc-jp", "utf-8", "utf-16"])
def test_encodings(encoding: str) -> None:
    text = "今朝は森の中を長い間歩いて、ついに広い川が見えました。"
    html = f'<html><head><meta charset="{encoding}"></head><body><p>{text}</p></body></html>'
    assert read_page(html.encode(encoding)).text == text
    assert read_page(f"<p>{text}</p>".encode(encoding), encoding).text == text


def test_where_the_encoding_is_declared() -> None:
    assert declared_charset(b"<meta charset = koi8-r>") == "koi8-r"
    old = b'<META http-equiv="Content-Type" content="text/html; charset=Big5">'
    assert declared_charset(old) == "Big5"
    assert declared_charset(b" " * 1024 + old) == ""


@pytest.mark.parametrize(
    "html", ["", "<p", "<!--", "plain", "</p></div>", "<html><frameset>", "\ufffd<", "<p>a\x01b"]
)
def test_broken_pages_do_no_harm(html: str) -> None:
    assert "<p" not in read_page(html.encode()).text


@pytest.mark.parametrize("html", ["<div>" * 50_000, "<b>" * 50_000 + "x" + "</b>" * 50_000])
def test_pages_nested_too_deep_are_refused(html: str) -> None:
    with pytest.raises(UnreadableError, match=TOO_DEEP):
        read_page(html.encode())


def test_signs_in_scripts_are_no_elements() -> None:
    script = "<script>" + "if (i<n) f();" * 5000 + "</script>"
    assert "The boat" in read_page(page(script).encode()).text
