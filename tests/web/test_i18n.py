"""Texts: each in both languages, with the same gaps to fill, none missing."""

from __future__ import annotations

import ast
import re
import string
from importlib.resources import files

import pytest

from llmos.hub.accounts.texts import COUNTRIES
from llmos.hub.errors import HubError
from llmos.web import i18n
from llmos.web.i18n import catalogue, choose_language, names, texts
from llmos.web.words import ago, short, size

ROOT = files("llmos.web")
SOURCES = [
    file.read_text("utf-8")
    for folder in (ROOT, ROOT.joinpath("templates"))
    for file in folder.iterdir()
    if file.name.endswith((".html", ".py"))
]


def gaps(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_keys_and_gaps() -> None:
    english, chinese = catalogue("en"), catalogue("zh")
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert text.strip() and chinese[key].strip(), key
        assert gaps(text) == gaps(chinese[key]), key


def test_chinese_is_chinese() -> None:
    for key, text in catalogue("zh").items():
        assert re.search(r"[\u4e00-\u9fff]", text), key


@pytest.mark.parametrize("call", [r't\("([\w.]+)"[,)]', r'\.t\(f?"([\w.]+)"[,)]'])
def test_every_text_asked_for_is_there(call: str) -> None:
    asked = {key for source in SOURCES for key in re.findall(r"\b" + call, source)}
    assert not asked - catalogue("en").keys()
    plural = {key for source in SOURCES for key in re.findall(r't\.n\("([\w.]+)"', source)}
    assert {f"{key}.{end}" for key in plural for end in ("one", "other")} <= catalogue("en").keys()


def test_every_text_is_used() -> None:
    everything = "\n".join(SOURCES)
    starts = set(re.findall(r'(?:\(|f)"([\w.]+\.)(?:"|\{)', everything))
    for key in catalogue("en"):
        plain = re.sub(r"\.(one|other|what|many|advice|title|text)$", "", key)
        dynamic = any(key.startswith(start) for start in starts)
        assert f'"{key}"' in everything or f'"{plain}"' in everything or dynamic, key


def test_values_are_text_and_not_markup() -> None:
    assert "&lt;b&gt;" in texts("en")("settings.type_name", name="<b>")
    assert str(texts("en").n("run.members_n", 1)) == "1 member"
    assert str(texts("en").n("run.members_n", 1200)) == "1,200 members"


def test_errors_that_are_told_in_chinese_are_ones_that_the_hub_tells() -> None:
    sources = files("llmos.hub").rglob("*.py")  # type: ignore[attr-defined]
    nodes = (node for file in sources for node in ast.walk(ast.parse(file.read_text("utf-8"))))
    said = {node.value for node in nodes if isinstance(node, ast.Constant)}
    for english, chinese in i18n._errors().items():
        assert english in said, english
        assert gaps(chinese) <= gaps(english) and re.search(r"[\u4e00-\u9fff]", chinese), english


def test_an_error_is_told_in_the_language_of_its_page() -> None:
    full = HubError(409, "The name {name} is taken: choose another", values={"name": "<b>{x}"})
    assert full.message == "The name <b>{x} is taken: choose another"
    assert texts("zh").told(full) == "名称 &lt;b&gt;{x} 已被占用：请另选一个"
    assert 'lang="en">The name &lt;b&gt;{x} is taken' in texts("en").told(full)
    rare = HubError(400, "what {nobody} translates <b>")
    assert texts("zh").told(rare) == '<span lang="en">what {nobody} translates &lt;b&gt;</span>'


def test_names_of_countries_and_languages() -> None:
    assert set(names()["countries"]) == COUNTRIES
    assert texts("en").country_name("de") == "Germany" and texts("zh").country_name("DE") == "德国"
    assert texts("zh").language_name("pt-BR") == "葡萄牙语"
    assert texts("en").language_name("<x>") == "<x>"


@pytest.mark.parametrize(
    ("asked", "cookie", "accepted", "chosen"),
    [
        (None, None, "", "en"), (None, None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, None, "en;q=0.2, zh;q=0.9", "zh"), (None, None, "fr, de;q=0.9", "en"),
        (None, "zh", "en", "zh"), ("en", "zh", "zh", "en"), ("xx", "yy", "zh", "zh"),
        (None, None, "zh;q=0, en", "en"), (None, None, "zh;q=x", "en"), (None, None, ",;=q", "en"),
        (None, None, "fr;q=0.9, ZH-tw;q=0.5", "zh"),
    ],
)  # fmt: skip
def test_the_language_of_an_answer(
    asked: str | None, cookie: str | None, accepted: str, chosen: str
) -> None:
    assert choose_language(asked, cookie, accepted) == chosen


def test_numbers_as_people_write_them() -> None:
    assert [short(n) for n in (0, 999, 1000, 1234567, 7e9, 2.5e12, None)] == [
        "0", "999", "1k", "1.23M", "7B", "2.5T", "",
    ]  # fmt: skip
    assert [size(n) for n in (0, 999, 1000, 999_999, 1_234_567, 5 * 10**9, None)] == [
        "0 B", "999 B", "1 kB", "1 MB", "1.23 MB", "5 GB", "",
    ]  # fmt: skip


def test_times_as_people_tell_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos.web.words.now", lambda: 10**12)
    day = 86_400_000

    def said(past: int) -> str:
        return re.sub("<[^>]*>", "", ago(texts("en"), 10**12 - past))

    assert said(0) == "just now" and said(61_000) == "1 minute ago"
    assert said(2 * 3_600_000) == "2 hours ago" and said(3 * day) == "3 days ago"
    assert said(31 * day) == "1 month ago" and said(800 * day) == "2 years ago"
    assert 'datetime="2001-09-09T01:46:40Z"' in ago(texts("zh"), 10**12)
    assert ago(texts("en"), None) == ""
