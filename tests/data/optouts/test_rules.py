"""What sites say in their own files, against the specifications and the standard library."""

from __future__ import annotations

import re
from urllib.robotparser import RobotFileParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.optouts.agents import TRAINING_AGENTS
from llmos.data.optouts.rules import _lies_in, ai_rule, robots_rule, tdm_rule


@pytest.mark.parametrize("agent", ["GPTBot", "CCBot", "Google-Extended", "ClaudeBot", "AI2Bot"])
def test_a_crawler_for_training_that_is_shut_out_stands_for_all(agent: str) -> None:
    rule = robots_rule(f"User-agent: {agent.lower()}\nDisallow: /private/\n")
    assert rule("/private/page") and not rule("/page")


def test_other_crawlers_do_not_matter_but_all_of_them_do() -> None:
    rule = robots_rule("User-agent: Googlebot\nUser-agent: ChatGPT-User\nDisallow: /\n")
    assert not rule("/page")
    rule = robots_rule("User-agent: *\nDisallow: /search\nAllow: /search/about\n")
    assert rule("/search?q=1") and not rule("/search/about") and not rule("/")
    # Training is forbidden even where the crawler of one company is let in.
    rule = robots_rule("User-agent: GPTBot\nAllow: /\n\nUser-agent: CCBot\nDisallow: /\n")
    assert rule("/page")
    assert not robots_rule("")("/page") and not robots_rule("<html>not found</html>")("/page")


def test_robots_as_the_standard_library_reads_it() -> None:
    content = (
        "# comment\nUser-agent: GPTBot\nUser-agent: CCBot\nDisallow: /a\nDisallow: /b/c\n\n"
        "User-agent: *\nDisallow: /d\n"
    )
    reference = RobotFileParser()
    reference.parse(content.split("\n"))
    rule = robots_rule(content)
    for path in ("/", "/a", "/ab", "/b", "/b/c/d", "/d", "/e?a=/a"):
        allowed = all(
            reference.can_fetch(agent, f"https://host{path}") for agent in (*TRAINING_AGENTS, "*")
        )
        assert rule(path) is not allowed, path


def test_ai_txt_names_kinds_of_files() -> None:
    rule = ai_rule(
        "# Spawning AI\nUser-Agent: *\nDisallow: *.html\nDisallow: *.txt\nAllow: *.jpg\n"
    )
    assert rule("/page.html") and rule("/a/b.txt")
    assert rule("/about") and rule("/")  # pages
    assert not rule("/picture.jpg") and not rule("/a.txt.gz")
    rule = ai_rule("User-Agent: *\nDisallow: *.jpg\n")
    assert not rule("/about") and rule("/a.jpg")
    assert ai_rule("User-Agent: *\nDisallow: /\nDisallow: *\n")("/about")


def test_tdmrep_takes_the_first_location_that_matches() -> None:
    rule = tdm_rule(
        '[{"location": "/free/*", "tdm-reservation": 0},'
        ' {"location": "/*.pdf$", "tdm-reservation": 1, "tdm-policy": "https://example.org/p"},'
        ' {"location": "/closed", "tdm-reservation": 1}]'
    )
    assert not rule("/free/a.pdf") and rule("/a.pdf") and not rule("/a.pdf?x=1")
    assert rule("/closed/b") and not rule("/other")
    assert tdm_rule('{"location": "/", "tdm-reservation": 1}')("/any")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"location": "/", "tdm-reservation": 2}]'])
def test_a_broken_tdmrep_is_told(content: str) -> None:
    with pytest.raises(ValueError):
        tdm_rule(content)


@settings(max_examples=150, deadline=None)
@given(st.text("ab/*", max_size=7), st.booleans(), st.text("ab/", max_size=9))
def test_patterns_are_those_of_a_regular_expression(body: str, ends: bool, path: str) -> None:
    reference = "/".join(["", body.lstrip("/")])
    expression = "".join(".*" if c == "*" else re.escape(c) for c in reference)
    found = re.match(expression + ("$" if ends else ""), "/" + path)
    assert _lies_in("/" + path, reference + "$" * ends) is (found is not None)


def test_patterns_take_linear_time() -> None:
    assert not _lies_in("/" + "a" * 200_000, "/" + "*a" * 200 + "*b")
