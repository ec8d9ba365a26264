from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace

import pytest

from llmos.data.documents import Document
from llmos.data.steps.quality.quality import RULES, Quality
from llmos.data.steps.step import Drop
from llmos.errors import UsageError
from llmos.recipe_preparation import QUALITY_RULES


@pytest.mark.parametrize("language", ["zh", "ja", "th", "hi", "ar", "ko", "de", "en"])
def test_prose_passes_all_rules(language: str, prose: dict[str, str]) -> None:
    document = Document(id="a", text=prose[language], language=language, licence="CC0-1.0")
    outcome = Quality()(document, Counter())
    lines = [line for line in prose[language].splitlines() if line]
    assert outcome == replace(document, text="\n".join(lines))


def test_lines_are_taken_out_and_counted(prose: dict[str, str]) -> None:
    counts: Counter[str] = Counter()
    text = prose["de"]
    step = Quality(("c4",))
    outcome = step(Document(id="a", text=f"Menü\n{text}\nKontakt", language="de"), counts)
    assert outcome == Document(id="a", text=text, language="de")
    assert counts == {"c4_lines_removed": 2}
    short = Document(id="a", text=f"Menü\n{text[:600]}" + "\nEin Wort mehr" * 40, language="de")
    assert isinstance(Quality(("c4", "fineweb"))(short, counts), Drop)
    assert counts == {"c4_lines_removed": 2}  # nothing is counted of what is dropped


def test_only_the_rules_that_are_named_are_asked(prose: dict[str, str]) -> None:
    text = prose["en"] + "\n" + "{ " * 3
    assert Quality()(Document(id="a", text=text, language="en"), Counter()) == Drop(
        "c4_curly_bracket"
    )
    document = Document(id="a", text=text, language="en")
    assert Quality(("gopher", "gopher_repetition", "fineweb"))(document, Counter()) is document
    assert Quality(())(document, Counter()) is document


def test_c4_s_rules_come_before_fineweb_s(prose: dict[str, str]) -> None:
    assert tuple(RULES) == QUALITY_RULES
    # A text that C4's rules alone make fit for FineWeb's.
    text = prose["de"] + "\nKontakt" * 12
    document = Document(id="a", text=text, language="de")
    assert Quality(("fineweb",))(document, Counter()) == Drop("fineweb_short_lines")
    assert isinstance(Quality(("fineweb", "c4"))(document, Counter()), Document)


@pytest.mark.parametrize("text", ["", " \n\t\n", "\u3000"])
def test_a_blank_text_is_dropped(text: str) -> None:
    assert Quality(("gopher",))(Document(id="a", text=text), Counter()) == Drop("quality_empty")


@pytest.mark.parametrize("text", ["\x00", "\ud800", "a\x85b", "\n.\n", "、", "\u0e34", "a" * 5000])
@pytest.mark.parametrize("rule", QUALITY_RULES)
def test_odd_texts_are_judged_without_an_error(rule: str, text: str) -> None:
    outcome = Quality((rule,))(Document(id="a", text=text, language="en"), Counter())
    assert isinstance(outcome, Document | Drop)


def test_records_of_several_parts_pass() -> None:
    record = Document(id="a", text="Hi Salut", fields={"en": "Hi", "fr": "Salut"})
    assert Quality()(record, Counter()) is record


def test_an_unknown_set_of_rules_is_named() -> None:
    with pytest.raises(UsageError, match="'gofer' is no set of quality rules"):
        Quality(("gofer",))


def test_the_step_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(Quality(("c4",)))) == Quality(("c4",))
