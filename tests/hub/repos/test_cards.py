"""Heads of cards: read as the Hugging Face hub reads them, and whatever a stranger wrote there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.hub.repos.cards import DEEPEST, CardError, body_of, parse_head, read_head

LEVELS = range(1, 12)
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in LEVELS
)
MERGES = "a0: &a0 {a: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 10)}]}}\n" for i in LEVELS
)
HOSTILE = {
    "aliases that stand for 10^12 values": BOMB,
    "merge keys": MERGES,
    "merge keys with their tag": MERGES.replace("<<:", "!!merge x:"),
    "a list that holds itself": "a: &a [*a]\n",
    "long text many times": f"a: &a {'x' * 100_000}\nb: [{','.join(['*a'] * 5000)}]\n",
    "an object of Python": "a: !!python/object/apply:os.system [ls]\n",
    "a list as key": "? [a]\n: b\n",
    "an unknown alias": "a: *b\n",
    "only text": "hello\n",
    "only a list": "- a\n",
    "a wrong escape": 'a: "\\uD800"\n',
    "tabs": "\ta: b\n",
    "too long": "a: b\n" * 200_000,
}


def card(head: str) -> str:
    return f"---\n{head}---\n\nHello\n"


@pytest.mark.parametrize("head", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_head_is_refused_and_the_card_is_without_metadata(head: str) -> None:
    with pytest.raises(CardError):
        parse_head(card(head))
    assert read_head(card(head)) == {}


def test_a_page_of_brackets_does_not_end_the_process() -> None:
    deep = "[" * 200_000 + "]" * 200_000
    script = (
        "import sys; from llmos.hub.repos.cards import read_head; "
        "assert read_head(sys.stdin.read()) == {}; print('alive')"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, input=card(f"a: {deep}\n"), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "alive", done.stderr


def test_depth_is_allowed_up_to_a_limit() -> None:
    assert parse_head(card(f"a: {'[' * (DEEPEST - 2)}{']' * (DEEPEST - 2)}\n"))
    with pytest.raises(CardError):
        parse_head(card(f"a: {'[' * DEEPEST}{']' * DEEPEST}\n"))


def test_values_are_those_of_yaml_1_2() -> None:
    """YAML 1.1 would make false, 90, a date and 8 (an error) of the first four."""
    head = "language: no\ntime: 1:30\nday: 2020-01-01\nnumber: 08\nyes: on\nhex: 0x1f\nnone: ~\n"
    assert parse_head(card(head)) == {
        "language": "no",
        "time": "1:30",
        "day": "2020-01-01",
        "number": 8,
        "yes": "on",
        "hex": 31,
        "none": None,
    }


def test_what_comes_back_is_json() -> None:
    head = f"big: {'9' * 5000}\nmore: {1 << 70}\nf: [.inf, .nan, 1e400, 1.5]\ntrue: x\n2: y\n"
    read = parse_head(card(head + 'nul: "a\\0b"\n'))
    assert json.loads(json.dumps(read, allow_nan=False)) == read
    assert read["more"] == str(1 << 70)
    assert read["true"] == "x" and read["2"] == "y"
    assert read["nul"] == "ab"


def test_an_ordinary_alias_is_followed() -> None:
    assert parse_head(card("a: &x [1]\nb: *x\n")) == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "head", "body"),
    [
        ("---\nlicense: mit\n---\n\nHello", {"license": "mit"}, "Hello"),
        ("---\r\nlicense: mit\r\n---\r\nHello", {"license": "mit"}, "Hello"),
        ("\n\n---\nlicense: mit\n---\nHello", {"license": "mit"}, "Hello"),
        ("---\n---\nHello", {}, "Hello"),
        ("Hello\n---\nlicense: mit\n---\n", {}, "Hello\n---\nlicense: mit\n---\n"),
        ("---\nlicense: mit\n", {}, "---\nlicense: mit\n"),
        ("", {}, ""),
    ],
)
def test_where_a_head_begins_and_ends(text: str, head: dict[str, str], body: str) -> None:
    assert parse_head(text) == head
    assert body_of(text) == body


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    json.dumps(read_head(card(text + "\n")), allow_nan=False).encode()
