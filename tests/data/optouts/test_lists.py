"""Lists of who opted out."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos.data.optouts.lists import load
from llmos.errors import DataError


def _write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    return path


def test_a_domain_stands_for_all_below_it(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "list.txt",
        "\ufeff# who opted out\n\nexample.org  # asked in May\nWWW.Other.example\n"
        "*.wild.example\n.dotted.example\nhttps://address.example\nbücher.example\n"
        "user.github.io\nwww.co.uk\n192.0.2.7\n[2001:db8::1]\n",
    )
    lists = load([path])
    for url in (
        "https://example.org", "http://EXAMPLE.org:8080/a", "https://a.b.example.org/x",
        "https://example.org./", "https://www.example.org/", "https://other.example/",
        "https://shop.other.example/", "https://wild.example/", "https://a.dotted.example/",
        "https://address.example/any", "https://xn--bcher-kva.example/", "https://BÜCHER.example",
        "https://user.github.io/x", "https://www.co.uk/", "http://192.0.2.7/", "example.org/page",
        "http://[2001:DB8::1]/",
    ):  # fmt: skip
        assert lists.which(url) == "list.txt", url
    for url in (
        "https://notexample.org/", "https://example.org.evil.example/", "https://org/",
        "https://other.github.io/", "https://bbc.co.uk/", "http://192.0.2.8/", "http://2.7/", "",
        "https://evil.example/?u=https://example.org",
    ):  # fmt: skip
        assert lists.which(url) == "", url


def test_a_part_of_a_site(tmp_path: Path) -> None:
    lists = load(
        [_write(tmp_path, "a.txt", "https://example.org/blog\nwww.example.org/wiki/\nb.de/?id=7\n")]
    )
    for url in (
        "https://example.org/blog", "http://www.example.org/blog/2024?x", "example.org/blog?p=1",
        "https://example.org/wiki/A", "https://example.org/x/../blog", "https://b.de/?id=7&x=1",
    ):  # fmt: skip
        assert lists.which(url) == "a.txt", url
    for url in (
        "https://example.org/", "https://example.org/blogger", "https://example.org/wiki",
        "https://sub.example.org/blog", "https://b.de/?id=77", "https://b.de/",
    ):  # fmt: skip
        assert lists.which(url) == "", url


def test_files_of_the_sites_themselves(tmp_path: Path) -> None:
    _write(tmp_path, "sites/example.org/robots.txt", "User-agent: GPTBot\nDisallow: /a\n")
    _write(
        tmp_path,
        "sites/www.tdm.example:8080/.well-known/tdmrep.json",
        '[{"location": "/", "tdm-reservation": 1}]',
    )
    _write(tmp_path, "sites/ai.example/ai.txt", "User-Agent: *\nDisallow: *.html\n")
    _write(tmp_path, "sites/more.txt", "list.example\n")
    _write(tmp_path, "sites/example.org/.DS_Store", "\x00\x01")
    lists = load([tmp_path / "sites"])
    assert lists.which("https://www.example.org/a/b") == "example.org/robots.txt"
    assert lists.which("https://example.org/b") == ""
    assert lists.which("https://sub.example.org/a") == ""  # a robots.txt is of one host
    assert lists.which("https://tdm.example/") == "www.tdm.example:8080/.well-known/tdmrep.json"
    assert lists.which("https://ai.example/page") == "ai.example/ai.txt"
    assert lists.which("https://list.example/") == "more.txt"
    alone = load([tmp_path / "sites/example.org/robots.txt"])
    assert alone.which("https://example.org/a") == "example.org/robots.txt"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("co.uk", "public suffix"),
        ("*.com", "public suffix"),
        ("https://公司.cn/", "public suffix"),
        ("two words", "neither a domain nor an address"),
        ("<html>", "neither a domain nor an address"),
        ("1.2.3", "not the address of a host"),
        ("https:///path", "neither a domain nor an address"),
    ],
)
def test_a_wrong_entry_is_told_with_its_line(tmp_path: Path, entry: str, problem: str) -> None:
    path = _write(tmp_path, "list.txt", f"example.org\n{entry}\n")
    with pytest.raises(DataError, match=rf"list\.txt line 2: .*{problem}"):
        load([path])


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load([tmp_path / "nothing"])
    with pytest.raises(DataError, match="does not tell whose it is"):
        load([_write(tmp_path, "folder/robots.txt", "User-agent: *\nDisallow: /\n")])
    with pytest.raises(DataError, match="not in its format"):
        load([_write(tmp_path, "a.example/tdmrep.json", "{")])
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        load([tmp_path / "binary.txt"])


def test_a_list_that_changed_is_read_again(tmp_path: Path) -> None:
    path = _write(tmp_path, "list.txt", "example.org\n")
    assert load([path]).which("https://other.example/") == ""
    _write(tmp_path, "list.txt", "example.org\nother.example\n")
    assert load([path]).which("https://other.example/") == "list.txt"
