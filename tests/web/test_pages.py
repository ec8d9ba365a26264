"""Every page answers, to everybody, in both languages, as it must."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest

from llmos.hub.accounts.rights import Right, account_row
from llmos.hub.api.routing import Need
from llmos.hub.database.tables import metadata
from llmos.hub.runs.planning import plan_run
from llmos.hub.runs.progress import add_progress
from llmos.web.routes import ROUTES

FILE = quote("a/<img src=x onerror=alert(3)>&\"'.txt")
COLLECTION = f"/collections/acme/x-{24 * '0'}"
COMMON = [  # what everybody sees
    "/", "/models", "/datasets", "/runs", "/spaces", "/members", "/members?country=de",
    "/search", "/search?q=acme&kind=run", "/search?q=alice&kind=member", "/leaderboard",
    "/models?task=text-generation&language=en&license=apache-2.0&sharing=open&sort=likes",
    "/acme", "/alice", "/gpt2", "/acme/small", "/datasets/acme/texts", "/runs/acme/run",
    "/acme/gated", "/acme/small/tree/main", "/acme/small/tree/main/a", "/acme/small/commits/main",
    f"/acme/small/blob/main/{FILE}", "/acme/small/blob/main/README.md",
    "/acme/small/blob/main/README.md?plain=1", "/acme/small/blob/main/x.bin",
    "/acme/small/commit/main", "/acme/small/discussions", "/acme/small/discussions?status=closed",
    "/acme/small/discussions/1", "/acme/small/discussions/2", "/runs/acme/run/tree/main",
    "/acme/small/commit/refs%2Fpr%2F2", "/gpt2/tree/main", "/collections", COLLECTION,
    "/collections?owner=acme&q=a",
]  # fmt: skip
MINE = [  # what one sees who has signed in
    "/settings", "/settings/tokens", "/settings/keys", "/settings/organizations", "/new",
    "/acme/small/discussions/new", "/notifications", "/notifications?show=all", "/collections/new",
    "/collections/add?kind=model&name=acme/small", "/collections/new?kind=model&name=acme/small",
]  # fmt: skip
MANAGED = [  # what alice sees
    "/acme/small/settings", "/acme/gated/access", "/acme/secret", "/acme/secret/tree/main",
    "/organizations/acme/settings", f"{COLLECTION}/edit", "/datasets/acme/texts/tree/main",
]  # fmt: skip
WHO = ("", "bob", "alice", "root")


@pytest.fixture(scope="module")
def browsers(shown: Any) -> dict[str, Any]:
    return {name: shown.browser(name) for name in WHO}


def status(browsers: dict[str, Any], who: str, path: str, language: str) -> int:
    answer = browsers[who].get(path, headers={"Accept-Language": language})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert f'<html lang="{"zh-Hans" if language == "zh" else "en"}">' in answer.text
    return int(answer.status_code)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", COMMON)
def test_everybody_sees_what_is_public(browsers: Any, path: str, language: str) -> None:
    assert [status(browsers, who, path, language) for who in WHO] == [200] * 4


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", MINE)
def test_ones_own_pages_ask_to_sign_in(browsers: Any, path: str, language: str) -> None:
    assert [status(browsers, who, path, language) for who in WHO] == [401, 200, 200, 200]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", MANAGED)
def test_what_is_managed_is_for_those_who_do(browsers: Any, path: str, language: str) -> None:
    nobody, bob, *others = (status(browsers, who, path, language) for who in WHO)
    assert others == [200, 200]
    assert nobody == 401
    assert bob == (404 if "secret" in path else 403)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_admin_page_is_for_admins(browsers: Any, language: str) -> None:
    assert [status(browsers, who, "/admin", language) for who in WHO] == [401, 403, 403, 200]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/nobody-here", 404), ("/acme/small/tree/main/none", 404),
        ("/acme/small/blob/main/none.txt", 404), ("/acme/small/tree/none", 404),
        ("/acme/small/commit/0123456789", 404), ("/acme/small/discussions/99", 404),
        ("/acme/small/discussions/1e9", 404), ("/a/b/c/d", 404),
        ("/models?after=x", 400), ("/acme/small/commits/main?start=x", 400),
    ],
)  # fmt: skip
def test_what_is_not_there(browsers: Any, path: str, expected: int) -> None:
    assert status(browsers, "bob", path, "zh") == expected


def test_missing_and_private_look_the_same(browsers: Any) -> None:
    for who in ("", "bob"):
        pages = [browsers[who].get(path) for path in ("/acme/secret", "/acme/nothing")]
        texts = [page.text.replace("secret", "X").replace("nothing", "X") for page in pages]
        assert pages[0].status_code == pages[1].status_code
        assert texts[0] == texts[1]


def test_private_names_are_not_listed(browsers: Any) -> None:
    for path in ("/", "/models", "/search?q=secret", "/acme", "/search?q=secret&kind=member"):
        for who in ("", "bob"):
            text = browsers[who].get(path).text
            assert not re.search(r'href="/acme/secret|class="name">acme/secret', text)
    assert 'href="/acme/secret"' in browsers["alice"].get("/models").text


def test_old_names_and_other_letters_lead_to_the_page(browsers: Any) -> None:
    answer = browsers[""].get("/ACME/Small/tree/main?x=1")
    assert (answer.status_code, answer.headers["location"]) == (307, "/acme/small/tree/main?x=1")
    assert browsers[""].get("/GPT2").headers["location"] == "/gpt2"
    assert browsers[""].get("/Acme").headers["location"] == "/acme"


def test_errors_are_told_in_the_language_of_the_page(shown: Any) -> None:
    missing = shown.browser().get(
        "/acme/nothing/blob/main/x?lang=zh", headers={"Accept": "text/html"}
    )
    assert missing.status_code in (401, 404) and "请先登录" in missing.text
    bob = shown.browser("bob").get("/acme/nothing?lang=zh")
    assert bob.status_code == 404 and "未找到该仓库" in bob.text
    assert '<span lang="en">' not in bob.text


def test_the_language_can_be_chosen_and_is_kept(shown: Any) -> None:
    browser = shown.browser()
    assert "共同构建语言模型" in browser.get("/?lang=zh").text
    assert "共同构建语言模型" in browser.get("/", headers={"Accept-Language": "en"}).text
    assert "Build language models together" in browser.get("/?lang=en").text
    assert "共同构建" in shown.browser().get("/", headers={"Accept-Language": "zh-CN,en"}).text
    assert "Build" in shown.browser().get("/?lang=xx", headers={"Accept-Language": "fr"}).text


def test_a_running_run_renews_itself_and_draws_its_curve(browsers: Any, read_page: Any) -> None:
    page = read_page(browsers[""].get("/runs/acme/run").text)
    assert {"http-equiv": "refresh", "content": "20"} in page.all("meta")
    assert page.all("polyline")[0]["points"].count(",") == 5
    home = read_page(browsers[""].get("/").text)
    assert not home.all("polyline")


ALONE = 'version = 1\nname = "mine"\n[rounds]\ncount = 5\nlocal_steps = 4\n'


@pytest.mark.parametrize(
    ("language", "joint", "alone"),
    [("en", "round 4 of 8", "step 7 of 20"), ("zh", "第 4 / 8 轮", "第 7 / 20 步")],
)
def test_a_run_of_one_alone_has_steps(site: Any, language: str, joint: str, alone: str) -> None:
    alice = site.caller("alice")
    run = plan_run(site.hub, alice, "acme/mine", ALONE)
    add_progress(site.hub, alice, run, {7: {"loss": 3.0}})
    browser = site.browser()
    browser.headers["Accept-Language"] = language
    assert joint in browser.get("/runs/acme/run").text
    page = browser.get("/runs/acme/mine").text
    assert alone in page and joint not in page
    assert alone in browser.get("/runs").text


def test_a_members_name_leads_to_whose_key_signed(site: Any, read_page: Any) -> None:
    def owners() -> list[str | None]:
        page = read_page(site.browser().get("/runs/acme/run").text)
        return [link["href"] for link in page.all("a") if link["href"] in ("/acme", "/bob")][1:]

    assert owners() == ["/acme", "/bob"]  # awaited: both are accounts here
    table = metadata.tables["run_members"]
    with site.hub.database.write() as connection:
        signed = {"public_key": "a" * 64, "signed_recipe": True}
        connection.execute(table.update().where(table.c.name == "bob").values(**signed))
    assert owners() == ["/acme"]  # anybody can write bob's name into a recipe
    with site.hub.database.write() as connection:
        bob = account_row(connection, "bob").id
        key = {"account_id": bob, "public_key": "a" * 64, "created_at": 0}
        connection.execute(metadata.tables["keys"].insert(), key)
    assert owners() == ["/acme", "/bob"]


def test_a_gated_model_offers_to_ask(browsers: Any, read_page: Any) -> None:
    forms = read_page(browsers["bob"].get("/acme/gated").text).all("form")
    assert "/acme/gated/ask-access" in [form["action"] for form in forms]
    assert browsers["bob"].get("/acme/gated/tree/main").status_code == 403


def test_all_pages_are_declared_as_pages_with_a_right() -> None:
    known = {value for name, value in vars(Need).items() if not name.startswith("_")}
    for route in ROUTES:
        assert route.page or route.template.startswith("/static/")
        assert isinstance(route.needs, Right) or route.needs in known
        if route.method == "POST":
            assert route.needs != Need.PUBLIC or route.template in ("/login", "/signup")
