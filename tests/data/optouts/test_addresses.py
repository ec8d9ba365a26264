"""Addresses in one form, against the examples of RFC 3986, UTS 46 and everyday spellings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.optouts.addresses import Address, address, domains_of, without_www


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://Example.ORG", "example.org", "/"),
        ("http://user:secret@example.org:8080/a?b=c#d", "example.org", "/a?b=c"),
        ("example.org./a", "example.org", "/a"),
        ("//example.org/a", "example.org", "/a"),
        ("HTTPS://EXAMPLE.ORG/A", "example.org", "/A"),  # paths have case
        ("https://bücher.example/ä", "xn--bcher-kva.example", "/%C3%A4"),
        ("https://xn--BCHER-kva.example/%c3%a4", "xn--bcher-kva.example", "/%C3%A4"),
        ("https://faß.de", "xn--fa-hia.de", "/"),  # UTS 46, not transitional
        ("https://例え。jp/", "xn--r8jz45g.jp", "/"),  # ideographic full stop
        ("https://foo_bar.example/", "foo_bar.example", "/"),
        ("http://[2001:DB8::1]:80/x", "2001:db8::1", "/x"),
        ("http://example.org/a/./b/../c", "example.org", "/a/c"),
        ("http://example.org/%7euser", "example.org", "/~user"),
        ("http://example.org?x=1", "example.org", "/?x=1"),
        ("http://example.org/..", "example.org", "/"),
    ],
)
def test_one_form(url: str, host: str, path: str) -> None:
    assert address(url) == Address(host, path)


@pytest.mark.parametrize("url", ["", "  ", "http://", "http://[1:2", "not a host", "https://a..b/"])
def test_what_is_no_address(url: str) -> None:
    assert address(url) is None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_can_be_asked(url: str) -> None:
    found = address(url)
    if found is not None:
        assert found.host == found.host.lower() and found.host.isascii()
        assert found.path.startswith("/") and found.path.isascii()


def test_domains_and_www() -> None:
    assert list(domains_of("a.b.example.org")) == [
        "a.b.example.org",
        "b.example.org",
        "example.org",
        "org",
    ]
    assert without_www("www.example.org") == "example.org"
    assert without_www("www.com") == "www.com"
