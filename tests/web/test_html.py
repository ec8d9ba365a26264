"""Pages are well formed and can be used by everybody: one heading, labels, ids that occur once."""

from __future__ import annotations

from typing import Any

import pytest

PATHS = [
    "/", "/models", "/runs", "/members", "/search?q=a&kind=dataset", "/leaderboard", "/acme",
    "/alice", "/gpt2", "/acme/small", "/datasets/acme/texts", "/runs/acme/run", "/acme/gated",
    "/acme/small/tree/main", "/acme/small/blob/main/config.json", "/acme/small/commits/main",
    "/acme/small/blob/main/x.bin", "/acme/small/commit/main", "/acme/small/discussions",
    "/acme/small/discussions/1", "/acme/small/discussions/2", "/acme/small/discussions/new",
    "/acme/small/settings", "/acme/gated/access", "/settings", "/settings/tokens",
    "/settings/keys", "/settings/organizations", "/organizations/acme/settings", "/new", "/admin",
    "/nothing", "/signup", "/?done=saved", "/collections", "/collections/new", "/notifications",
    "/notifications?show=all", "/collections/add?kind=model&name=acme/small",
    f"/collections/acme/x-{24 * '0'}", f"/collections/acme/x-{24 * '0'}/edit",
]  # fmt: skip


@pytest.fixture(scope="module", params=["", "root"])
def browser(shown: Any, request: Any) -> Any:
    return shown.browser(request.param)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_well_formed(browser: Any, read_page: Any, path: str) -> None:
    text = browser.get(path).text
    page = read_page(text)
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    assert page.problems == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    headings = [tag for tag, _ in page.tags if tag == "h1"]
    written = ("/acme", "/runs/acme/run", "/datasets/acme/texts")  # strangers write headings too
    assert headings if path.startswith(written) else len(headings) == 1
    assert len(page.all("main")) == 1 and text.count("</title>\n<link") == 1


@pytest.mark.parametrize("path", PATHS)
def test_whatever_can_be_filled_in_has_a_name(browser: Any, read_page: Any, path: str) -> None:
    page = read_page(browser.get(path).text)
    labelled = {label["for"] for label in page.all("label")}
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert labelled <= ids
    for tag in ("input", "select", "textarea"):
        for attributes in page.all(tag):
            if attributes.get("type") not in ("hidden", "submit"):
                assert attributes.get("id") in labelled or attributes.get("aria-label"), attributes
            for described in (attributes.get("aria-describedby") or "").split():
                assert described in ids
    for picture in page.all("img"):
        assert "alt" in picture or "/resolve/" in (picture.get("src") or "/resolve/")  # a card's


@pytest.mark.parametrize("path", PATHS)
def test_links_within_a_page_lead_somewhere(browser: Any, read_page: Any, path: str) -> None:
    page = read_page(browser.get(path).text)
    ids = {attributes.get("id") for _, attributes in page.tags}
    for link in page.all("a"):
        address = link.get("href") or ""
        if address.startswith("#") and not address.startswith("#card-"):
            assert address[1:] in ids, address


def test_links_of_the_first_pages_lead_to_pages(browser: Any, read_page: Any) -> None:
    seen = set()
    for path in ("/", "/acme/small", "/runs/acme/run", "/acme", "/acme/small/tree/main"):
        for link in read_page(browser.get(path).text).all("a"):
            address = (link.get("href") or "").split("#")[0]
            if address.startswith("/") and address not in seen:
                seen.add(address)
                answer = browser.get(address)
                kept = "a/b.txt" in address or "elsewhere" in address  # of the hostile card
                assert (
                    answer.status_code in (200, 307)
                    or kept
                    or (answer.status_code == 401 and browser.cookies.get("llmos_session") is None)
                ), (path, address)
    assert len(seen) > 20
