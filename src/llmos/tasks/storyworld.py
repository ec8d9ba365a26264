"""Records of every task about the stories of storyworld, in the words in which tasks ask a model.

So a model that is trained on them answers `llmos ask` and the others at once. The stories' facts
are the answers: no model wrote them. Questions about somebody who is not in the story have none.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from llmos.data.storyworld.grammar import ORDER
from llmos.data.storyworld.stories import VERSION, Story, language_of, tell
from llmos.data.storyworld.world import VALUES, StoryFacts, sample_story
from llmos.errors import UsageError
from llmos.records import JSON
from llmos.storage import write_atomic
from llmos.tasks import TASKS
from llmos.tasks.conventions import fill
from llmos.tasks.question_answering import NO_ANSWER
from llmos.tasks.task import Inputs
from llmos.tasks.turns import read_turns, write_turns

QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "who": "Who is the story about?",
        "helper": "Who helped {name}?",
        "where": "Where did {name} live?",
        "what": "What did {name} want?",
        "why": "Why did {name} want that?",
        "mood": "How does the story end?",
    },
    "zh": {
        "who": "这个故事讲的是谁？",
        "helper": "谁帮了{name}？",
        "where": "{name}住在哪里？",
        "what": "{name}想做什么？",
        "why": "{name}为什么想这样做？",
        "mood": "故事的结局怎么样？",
    },
    "fr": {
        "who": "De qui parle l'histoire ?",
        "helper": "Qui a aidé {name} ?",
        "where": "Où vivait {name} ?",
        "what": "Que voulait {name} ?",
        "why": "Pourquoi {name} voulait cela ?",
        "mood": "Comment finit l'histoire ?",
    },
    "es": {
        "who": "¿De quién habla el cuento?",
        "helper": "¿Quién ayudó a {name}?",
        "where": "¿Dónde vivía {name}?",
        "what": "¿Qué quería {name}?",
        "why": "¿Por qué quería eso {name}?",
        "mood": "¿Cómo termina el cuento?",
    },
}
ABSENT = 0.15
"""The share of questions about somebody who is not in the story."""


def story_records(
    facts: StoryFacts, languages: Sequence[str], *, joined: bool = False
) -> Iterator[JSON]:
    """The records of one story, as `llmos train` reads chats and evaluation reads pairs.

    Each has id, language, task, kind (of a question: who, where, ...; else the task), inputs,
    output and messages. What is asked depends on the story's seed and number alone.
    joined: what is asked about the whole story is one conversation, in any order, which has no
    inputs and output: the same answers in a quarter of the tokens, to train on.
    """
    draw = random.Random(f"storyworld tasks:{facts.seed}:{facts.index}")
    told = {code: tell(facts, code) for code in languages}
    for code, story in told.items():
        to = draw.choice([other for other in languages if other != code] or [code])
        about = list(chain(_judged(story), _questions(facts, story, draw)))
        rest = chain(
            _translations(facts, story, to) if to != code else (),
            _written(facts, story),
            _conversation(facts, story),
        )
        head = {"language": code, "synthetic": True}
        for number, (name, kind, inputs, output) in enumerate([*rest, *(() if joined else about)]):
            yield {
                "id": f"{story.id}-{number}",
                **head,
                "task": name,
                "kind": kind,
                "inputs": dict(inputs),
                "output": output,
                "messages": _messages(name, inputs, output, code),
            }
        if joined:
            order = random.Random(f"storyworld joined:{story.id}")
            order.shuffle(about)
            messages = list(_one_after_the_other(about, code, order))
            yield {
                "id": f"{story.id}-joined", **head, "task": "dialogue", "kind": "joined",
                "messages": messages,
            }  # fmt: skip


def _one_after_the_other(
    asked: Sequence[tuple[str, str, Inputs, str]], language: str, draw: random.Random
) -> Iterator[dict[str, str]]:
    """The turns of a conversation about one text, which stands in the first one only."""
    for number, (name, _, inputs, output) in enumerate(asked):
        task = TASKS[name]
        given = task.complete(inputs)
        if number:
            given |= {task.long.name: ""}
        words = fill(task.chat[language], task.values(given, language)).strip()
        if number and "question" in given and draw.random() < 0.5:
            words = given["question"]  # as people ask on
        yield {"role": "user", "content": words}
        yield {"role": "assistant", "content": output}


_Found = Iterator[tuple[str, str, Inputs, str]]
"""Task, kind, inputs, output."""


def _passage(facts: StoryFacts, code: str, number: int) -> str:
    return language_of(code).passage(ORDER[number], facts, facts.variants[number])


def _translations(facts: StoryFacts, story: Story, to: str) -> _Found:
    """A sentence or two at a time, as translation models learn."""
    code = story.language
    for number in range(len(ORDER)):
        inputs = {"text": _passage(facts, code, number), "to": to, "from": code}
        yield "translation", "translation", inputs, _passage(facts, to, number)
    inputs = {"text": story.facts["summary"], "to": to, "from": code}
    yield "translation", "translation", inputs, tell(facts, to).facts["summary"]


def _judged(story: Story) -> _Found:
    yield "summarization", "summarization", {"text": story.text}, story.facts["summary"]
    moods = language_of(story.language).mood
    inputs = {"text": story.text, "labels": ", ".join(moods.values())}
    yield "sentiment", "sentiment", inputs, story.facts["mood"]


def _written(facts: StoryFacts, story: Story) -> _Found:
    opening = _passage(facts, story.language, 0)
    rest = story.text[len(opening) :].strip()
    yield "creative_writing", "creative_writing", {"text": opening}, rest


def _questions(facts: StoryFacts, story: Story, draw: random.Random) -> _Found:
    words = language_of(story.language)
    hero, helper = (words.spell(words.lexicon[facts.values[p]].text) for p in ("hero", "helper"))
    answers = {**story.facts, "helper": helper}
    for kind, question in QUESTIONS[story.language].items():
        name, answer = hero, answers[kind]
        if "{name}" in question and draw.random() < ABSENT:
            others = [one for one in VALUES["name"] if one not in facts.values.values()]
            name = words.spell(words.lexicon[draw.choice(others)].text)
            answer = NO_ANSWER[story.language]
        asked = question.format(name=name)
        yield "question_answering", kind, {"question": asked, "context": story.text}, answer


def _conversation(facts: StoryFacts, story: Story) -> _Found:
    """Questions one after the other, of which only the first comes with the story."""
    words = language_of(story.language)
    hero = words.spell(words.lexicon[facts.values["hero"]].text)
    turns: list[dict[str, str]] = []
    kinds = ("who", "where", "what", "mood")
    for number, kind in enumerate(kinds):
        asked = QUESTIONS[story.language][kind].format(name=hero)
        text = asked if number else f"{story.text}\n\n{asked}"
        answer = story.facts[kind]
        if number == len(kinds) - 1:
            yield "dialogue", kind, {"text": text, "history": write_turns(turns)}, answer
        turns += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]


def _messages(name: str, inputs: Inputs, output: str, language: str) -> list[dict[str, str]]:
    task = TASKS[name]
    asked = fill(task.chat[language], task.values(task.complete(inputs), language))
    return [
        *read_turns(inputs.get("history", "")),
        {"role": "user", "content": asked},
        {"role": "assistant", "content": output},
    ]


def write_records(
    folder: Path,
    stories: int,
    languages: Sequence[str],
    seed: int = 0,
    start: int = 0,
    *,
    joined: bool = False,
) -> list[Path]:
    """Write the records of stories `start` to `start + stories - 1` as `<language>.jsonl`.

    Two folders with ranges apart hold different stories: one to train on, one to judge by. joined:
    see `story_records`. Returns the files, `card.json` last. Raises `UsageError` for numbers or
    languages that do not fit, and for a folder that cannot be written.
    """
    for code in languages:
        language_of(code)
    if stories < 1 or start < 0 or not languages or len(set(languages)) < len(languages):
        raise UsageError(f"{stories} stories from {start} in {', '.join(languages)}: do not fit")
    lines: dict[str, list[str]] = {code: [] for code in languages}
    for index in range(start, start + stories):
        for record in story_records(sample_story(seed, index), languages, joined=joined):
            lines[record["language"]].append(json.dumps(record, ensure_ascii=False) + "\n")
    card: JSON = {"name": "storyworld tasks", "synthetic": True, "languages": list(languages)}
    card |= {"licence": "CC0-1.0", "source": "LLMOS storyworld generator", "version": VERSION}
    card |= {"seed": seed, "start": start, "stories": stories}
    contents = {f"{code}.jsonl": "".join(of_code) for code, of_code in lines.items()}
    contents["card.json"] = json.dumps(card, ensure_ascii=False, indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; choose a folder") from error
    paths = [folder / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_atomic(path, content.encode())
    return paths
