"""Records about the stories: true to the facts, and asked as the tasks ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmos.data.records import RECORDS
from llmos.data.rows import Row
from llmos.data.storyworld.stories import tell
from llmos.data.storyworld.world import sample_story
from llmos.errors import UsageError
from llmos.recipe import DataSection
from llmos.tasks import TASKS
from llmos.tasks.question_answering import NO_ANSWER
from llmos.tasks.running import run
from llmos.tasks.storyworld import story_records, write_records

LANGUAGES = ("en", "zh", "fr", "es")


def test_the_model_is_trained_on_what_a_task_asks(scripted: Any) -> None:
    asked = set()
    for record in story_records(sample_story(0, 7), LANGUAGES):
        engine = scripted(lambda text: "x")
        run(TASKS[record["task"]], engine, [record["inputs"]])
        request = engine.calls[0][0]
        assert list(request.messages) == record["messages"][:-1], record["task"]
        assert record["messages"][-1] == {"role": "assistant", "content": record["output"]}
        asked.add(record["task"])
    assert asked == set(TASKS) - {"code"}


def test_a_joined_conversation_asks_the_same_with_the_story_once() -> None:
    for index in range(6):
        facts = sample_story(2, index)
        apart = list(story_records(facts, LANGUAGES))
        joined = list(story_records(facts, LANGUAGES, joined=True))
        for code in LANGUAGES:
            (talk,) = (one for one in joined if one["kind"] == "joined" and one["language"] == code)
            answers = [m["content"] for m in talk["messages"] if m["role"] == "assistant"]
            about = ("question_answering", "sentiment", "summarization")
            alone = [r for r in apart if r["task"] in about and r["language"] == code]
            assert sorted(answers) == sorted(record["output"] for record in alone)
            story = tell(facts, code).text
            asked = [m["content"] for m in talk["messages"] if m["role"] == "user"]
            assert [story in one for one in asked] == [True] + [False] * (len(asked) - 1)
            assert asked[0] in {record["messages"][0]["content"] for record in alone}


def test_answers_are_the_facts_and_absent_people_have_none() -> None:
    absent = total = 0
    for index in range(20):
        facts = sample_story(1, index)
        for code in LANGUAGES:
            story = tell(facts, code)
            for record in story_records(facts, LANGUAGES):
                if record["task"] != "question_answering" or record["language"] != code:
                    continue
                total += 1
                if record["output"] == NO_ANSWER[code]:
                    absent += 1
                else:
                    helper = record["output"] in story.text
                    assert record["output"] in story.facts.values() or helper
    assert 0.06 < absent / total < 0.16  # 15 % of those that name somebody: four of six


def test_stories_and_translations_are_of_one_story() -> None:
    facts = sample_story(0, 3)
    for record in story_records(facts, LANGUAGES):
        if record["task"] == "translation":
            assert record["inputs"]["to"] != record["language"]
            target = tell(facts, record["inputs"]["to"])
            is_summary = record["output"] == target.facts["summary"]
            assert is_summary or record["output"] in target.text


def test_files_are_the_same_every_time_and_read_as_chats(tmp_path: Path) -> None:
    first = write_records(tmp_path / "a", 2, ["en", "zh"], seed=3, start=5)
    second = write_records(tmp_path / "b", 2, ["en", "zh"], seed=3, start=5)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert [path.name for path in first] == ["en.jsonl", "zh.jsonl", "card.json"]
    ids = []
    for path in first[:2]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            values = json.loads(line)
            ids.append(values["id"])
            row = Row(path, str(number), values["id"], values)
            assert RECORDS["chat"](row, DataSection()).fields["messages"]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("stories", "languages", "match"),
    [(0, ["en"], "do not fit"), (1, [], "do not fit"), (1, ["en", "en"], "fit"), (1, ["xx"], "xx")],
)
def test_numbers_that_do_not_fit(
    tmp_path: Path, stories: int, languages: list[str], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        write_records(tmp_path, stories, languages)
