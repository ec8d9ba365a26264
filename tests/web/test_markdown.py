"""Cards: what they may hold, where their links and pictures lead, what is taken out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from llmos.web.markdown import LONGEST, card_html, without_head

PAGES, PICTURES = "/o/n/blob/main/", "/o/n/resolve/main/"


def shown(text: str, folder: str = "") -> str:
    return str(card_html(text, PAGES, PICTURES, folder))


def test_what_a_card_is_made_of() -> None:
    html = shown(
        "# A b\n\n| x | y |\n|--|--:|\n| 1 | **2** |\n\n```python\na < b\n```\n\n~~s~~ `c`"
    )
    for part in (
        '<h1 id="card-a-b">A b</h1>', "<table>", '<th align="right">y', '<td align="right"><s',
        "<strong>2</strong>", "<s>s</s>",
        '<code class="language-python">a &lt; b', "<code>c</code>",
    ):  # fmt: skip
        assert part in html, html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](b.txt)", 'href="/o/n/blob/main/b.txt"'),
        ("[a](<./x/../b c.txt>)", 'href="/o/n/blob/main/b%20c.txt"'),
        ("[a](b.txt#L3)", 'href="/o/n/blob/main/b.txt#L3"'),
        ("[a](#A-b)", 'href="#card-a-b"'),
        ("[a](/gpt2)", 'href="/gpt2"'),
        ("[a](https://x.org/y)", 'href="https://x.org/y"'),
        ("[a](mailto:a@b.org)", 'href="mailto:a@b.org"'),
        ("![p](i/a.png)", 'src="/o/n/resolve/main/i/a.png"'),
        ('<img src="i/a.png" width="20">', 'src="/o/n/resolve/main/i/a.png"'),
        ("![p](https://x.org/a.png)", '<a href="https://x.org/a.png"'),
    ],
)
def test_where_links_and_pictures_lead(text: str, expected: str) -> None:
    assert expected in shown(text)


def test_links_count_from_the_folder_of_the_text() -> None:
    assert 'href="/o/n/blob/main/docs/b.txt"' in shown("[a](b.txt)", "docs")
    assert 'href="/o/n/blob/main/b.txt"' in shown("[a](../b.txt)", "docs")


@pytest.mark.parametrize(
    "text",
    [
        "[a](../../etc)", "![a](../x.png)", "![a](/logout)", "![a](//evil.example/x.png)",
        '<img src="//evil.example/x.png">', '<img src="https://evil.example/x.png">',
        "[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))", "[a](data:text/html,x)",
        "<a href='java\nscript:alert(1)'>x</a>", "<script>alert(1)</script>", "<p style='x'>a</p>",
        "<p onclick='alert(1)'>a</p>", "<svg><script>alert(1)</script></svg>",
        "<math><mtext><img src=x onerror=alert(1)></mtext></math>", "<form action=/logout>",
        "<input name=csrf>", "<a href='\\\\evil.example'>x</a>", "<base href=//evil.example>",
        "<iframe srcdoc='<script>alert(1)</script>'>", "<code class='button danger'>x</code>",
        "<h1 id=main>x</h1><h1 id=main>y</h1>", "<object data=x>", "<meta http-equiv=refresh>",
        '![a" onerror="alert(1)](x.png)', '[a](x.txt "t\\" onclick=\\"alert(1)")',
    ],
)  # fmt: skip
def test_what_could_do_harm_is_taken_out(text: str, read_page: Any) -> None:
    page = read_page(shown(text))
    ids = [one["id"] for _, one in page.tags if "id" in one]
    assert len(ids) == len(set(ids)) and all((one or "").startswith("card-") for one in ids)
    for tag, attributes in page.tags:
        assert tag in ("a", "p", "img", "h1", "code", "svg", "pre", "br"), tag
        assert set(attributes) <= {"href", "src", "rel", "id", "alt", "title"}, attributes
        assert "javascript" not in (attributes.get("href") or "").lower()
        source = attributes.get("src") or PICTURES
        assert source.startswith(PICTURES) and ".." not in source
        assert "evil" not in (attributes.get("src") or "")
        assert not (attributes.get("href") or "").startswith(("//", "\\", "data:"))


def test_links_of_strangers_carry_no_weight() -> None:
    assert 'rel="nofollow ugc noopener noreferrer"' in shown("[a](https://x.org)")


def test_too_long_a_card_is_not_rendered() -> None:
    assert card_html("a" * (LONGEST + 1)) is None


def test_the_head_is_left_out() -> None:
    assert without_head("---\nlicense: mit\n---\n# Hi\n").strip() == "# Hi"
    assert without_head("# Hi\n---\nx\n---\n") == "# Hi\n---\nx\n---\n"


@given(some.text(alphabet="<>\"'=[]()!#`*|\\/:&;- \nabcjsx", max_size=200))
def test_any_text_gives_html_without_scripts(text: str) -> None:
    html = shown(text).lower()
    assert "<script" not in html and "<style" not in html and "<form" not in html
