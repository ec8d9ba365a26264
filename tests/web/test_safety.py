"""Whatever strangers write is inert on every page; nothing is loaded from elsewhere; other sites
cannot send forms."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from llmos.web.pages_signing_in import inside

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'>"
FILE = quote("a/<img src=x onerror=alert(3)>&\"'.txt")
QUERY = quote(HOSTILE)
COLLECTION = f"/collections/acme/x-{24 * '0'}"
PATHS = [
    "/", f"/search?q={QUERY}", f"/models?q={QUERY}&task={QUERY}&language={QUERY}&license={QUERY}",
    f"/members?q={QUERY}&country=%22%3E", f"/leaderboard?task={QUERY}", "/acme", "/alice", "/bob",
    "/acme/small", "/acme/small/tree/main", "/acme/small/tree/main/a",
    f"/acme/small/blob/main/{FILE}", "/acme/small/blob/main/README.md",
    "/acme/small/blob/main/README.md?plain=1", "/acme/small/commits/main",
    "/acme/small/commit/main", "/acme/small/discussions", "/acme/small/discussions/1",
    "/acme/small/discussions/2", "/acme/small/tree/refs%2Fpr%2F2", "/runs/acme/run",
    "/acme/small/settings", "/organizations/acme/settings", "/settings", "/admin",
    f"/{QUERY}", f"/acme/{QUERY}", f"/login?next={QUERY}", f"/?done={QUERY}", f"/?lang={QUERY}",
    "/collections", COLLECTION, f"{COLLECTION}/edit", f"/collections?q={QUERY}&owner={QUERY}",
    f"/collections/add?kind=model&name={QUERY}", f"/collections/new?name={QUERY}&kind={QUERY}",
    "/notifications?show=all",
    f"/acme/small/tree/{QUERY}", f"/acme/small/blob/main/{QUERY}",
]  # fmt: skip
ADDRESSES = ("href", "src", "action", "formaction", "poster", "data", "srcset", "xlink:href")


@pytest.fixture(scope="module")
def answers(shown: Any) -> dict[str, Any]:
    browser = shown.browser("root")
    return {path: browser.get(path) for path in PATHS}


@pytest.mark.parametrize("path", PATHS)
def test_no_page_runs_or_loads_what_strangers_wrote(
    answers: Any, read_page: Any, path: str
) -> None:
    page = read_page(answers[path].text)
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "style"), tag
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style", (tag, name)
            if name in ADDRESSES:
                address = (value or "").strip().lower()
                assert not address.startswith(("javascript:", "data:", "vbscript:")), value
                if tag != "a":
                    assert address.startswith(("/", "?")) and not address.startswith("//"), value
    for form in page.all("form"):
        assert (form.get("action") or "/").startswith("/")
    assert "alert(1)" not in "".join(name for name, _ in page.tags)


@pytest.mark.parametrize("path", PATHS)
def test_the_policy_forbids_it_too(answers: Any, path: str) -> None:
    headers = answers[path].headers
    if answers[path].status_code == 303:
        return
    parts = headers["content-security-policy"].split(";")
    policy = dict(part.strip().split(" ", 1) for part in parts)
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == "'self'" and "script-src" not in policy
    assert policy["form-action"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"  # somebody has signed in


def test_text_that_is_not_markup_is_shown_as_it_is(answers: Any, read_page: Any) -> None:
    for path in ("/acme/small/discussions/1", "/bob", "/acme/small/commits/main"):
        assert HOSTILE in read_page(answers[path].text).text, path


@pytest.mark.parametrize("path", PATHS)
def test_forms_carry_the_token_of_the_session(answers: Any, read_page: Any, path: str) -> None:
    tags = read_page(answers[path].text).tags
    for place, (tag, attributes) in enumerate(tags):
        if tag == "form" and attributes.get("method") == "post":
            following = [some for name, some in tags[place + 1 : place + 4] if name == "input"]
            assert following[0]["name"] == "csrf" and len(following[0]["value"]) > 20


POSTS = [
    "/acme/small/like", "/acme/small/settings", "/acme/small/settings/delete",
    "/acme/small/discussions/1/comment", "/acme/small/discussions/2/merge", "/logout", "/new",
    "/settings", "/settings/tokens", "/settings/password", "/organizations/acme/invitations",
    "/collections", "/collections/add", COLLECTION, f"{COLLECTION}/delete", f"{COLLECTION}/items",
    "/notifications/read", "/notifications/clear", "/admin/invitations", "/acme/gated/access/grant",
]  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
def test_forms_without_the_token_do_nothing(shown: Any, path: str) -> None:
    root = shown.browser("root")
    data = {"name": "acme/small", "text": "x", "user": "bob", "label": "x", "scope": "read"}
    for token in (None, "", "wrong", "é" * 30):
        sent = data if token is None else {**data, "csrf": token}
        answer = root.post(path, data=sent)
        assert answer.status_code == 403, (path, token)
    assert root.get("/acme/small").status_code == 200


def test_another_site_cannot_sign_somebody_in(shown: Any) -> None:
    data = {"name": "alice", "password": "long enough, I think"}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = shown.browser().post("/login", data=data, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example",
        "javascript:alert(1)", "/\t/evil.example", "/ok\r\nSet-Cookie: a=b", "", "evil",
        "/a\\b", "http://[", " //evil.example",
    ],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(address: str) -> None:
    assert inside(address) == "/"


def test_signing_in_leads_back() -> None:
    assert inside("/acme/small/discussions/1?x=1") == "/acme/small/discussions/1?x=1"


def test_one_style_sheet_and_one_picture_is_all_a_page_loads(answers: Any, read_page: Any) -> None:
    page = read_page(answers["/"].text)
    assert [link["rel"] for link in page.all("link")] == ["icon", "stylesheet"]
    assert len(answers["/"].content) < 40_000


def test_static_files_are_kept_for_ever_by_their_hash(shown: Any, read_page: Any) -> None:
    browser = shown.browser()
    sheet = read_page(browser.get("/").text).all("link")[1]["href"]
    answer = browser.get(sheet)
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    old = browser.get("/static/000000000000/hub.css")
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
    for path in ("/static/x/none.css", "/static/x/..%2Fi18n.py", "/static/x/%2e%2e%2flocale"):
        assert browser.get(path).status_code == 404
