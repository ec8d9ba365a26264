"""The stories: parallel, deterministic, many, small vocabulary, grammatical by outside rules."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from functools import cache
from importlib.resources import files
from itertools import combinations, product
from pathlib import Path

import pytest

from llmos.data.storyworld.stories import LANGUAGES, tell, write_stories
from llmos.data.storyworld.world import CLASHES, FRAMES, GENDER, MOODS, VALUES, sample_story
from llmos.errors import UsageError

CODES = sorted(LANGUAGES)
SETTING = ("hero", "helper", "role", "job", "home", "calm", "landmark", "season", "part")


@cache
def texts(code: str, number: int, seed: int = 5) -> list[str]:
    return [tell(sample_story(seed, index), code).text for index in range(number)]


def test_a_story_in_every_language() -> None:
    """Golden: another text for the same seed and index needs another VERSION."""
    facts = sample_story(0, 0)
    assert {code: tell(facts, code).text for code in CODES} == GOLDEN


def test_a_story_depends_on_seed_and_index_alone() -> None:
    backwards = [sample_story(3, index) for index in reversed(range(50))]
    assert backwards[::-1] == [sample_story(3, index) for index in range(50)]
    assert sample_story(3, 1) != sample_story(4, 1)


@pytest.mark.parametrize("code", CODES)
def test_every_story_carries_its_facts(code: str) -> None:
    for index in range(100):
        facts = sample_story(1, index)
        story = tell(facts, code)
        assert set(story.facts) == {"who", "where", "what", "why", "mood", "summary"}
        assert story.facts["what"] in story.text
        assert story.facts["why"] in story.text
        hero = LANGUAGES[code].lexicon[facts.values["hero"]].text
        assert hero in story.text
        assert hero in story.facts["who"]
        assert story.facts["summary"].startswith(hero)
        assert story.facts["mood"] == LANGUAGES[code].mood[facts.mood]


@pytest.mark.parametrize("code", CODES)
def test_length_is_six_to_eight_sentences(code: str) -> None:
    for text in texts(code, 200):
        assert 6 <= len(re.findall(r"[.。]", text)) <= 8
        assert 55 <= (len(text) / 1.6 if code == "zh" else len(text.split())) <= 130


def test_what_clashes_never_meets() -> None:
    for index in range(2000):
        facts = sample_story(2, index)
        told = [facts.frame, facts.obstacle, *facts.values.values()]
        assert len(told) == len(set(told))
        assert not [pair for pair in product(told, told) if frozenset(pair) in CLASHES]


def test_every_part_of_the_world_is_used() -> None:
    stories = [sample_story(6, index) for index in range(4000)]
    assert {(s.frame, s.mood) for s in stories} == set(product(FRAMES, MOODS))
    assert {(s.frame, s.reason) for s in stories} == {
        (frame, reason) for frame in FRAMES for reason in FRAMES[frame]["reasons"]
    }
    assert {v for s in stories for v in s.values.values()} == {
        value for values in VALUES.values() for value in values
    }


def test_more_than_a_million_stories() -> None:
    """In one plot frame with one obstacle, by the values alone that show in every text."""
    names = len(VALUES["name"])
    settings = sum(
        all(frozenset(pair) not in CLASHES for pair in combinations(("repair", "hard", *s), 2))
        for s in product(*(VALUES[name] for name in SETTING[2:]))
    )
    assert names * (names - 1) * settings > 10**6
    for code in CODES:
        for index in range(20):
            facts = sample_story(7, index)
            for name in SETTING:
                options = VALUES["name" if name in ("hero", "helper") else name]
                told = set()
                for value in options:
                    values = {**facts.values, name: value}
                    told.add(tell(replace(facts, values=values), code).text)
                assert len(told) == len(options), (code, name)


@pytest.mark.parametrize("code", CODES)
def test_duplicates_are_rare(code: str) -> None:
    assert len(set(texts(code, 2000))) == 2000


def test_limits_of_size() -> None:
    folder = files("llmos.data.storyworld")
    data = [*folder.iterdir(), *(folder / "lexicon").iterdir()]
    lines = sum(len(f.read_text().splitlines()) for f in data if f.name.endswith((".py", ".toml")))
    assert lines <= 1200
    assert len(FRAMES) <= 10
    for code in CODES:  # word forms, so that there are fewer lemmas still
        assert 200 < len(LANGUAGES[code].vocabulary) <= 600


@pytest.mark.parametrize("code", CODES)
def test_the_vocabulary_covers_the_stories(code: str) -> None:
    if code == "zh":
        assert set("".join(re.findall(r"\w+", "".join(texts(code, 300))))) <= set(
            "".join(LANGUAGES[code].vocabulary)
        )
    else:
        words = re.findall(r"[^\W\d_]+", " ".join(texts(code, 300)).lower())
        assert set(words) <= LANGUAGES[code].vocabulary


def test_languages_have_the_same_parts() -> None:
    english = LANGUAGES["en"]
    for language in LANGUAGES.values():
        for group, passages in english.sentences.items():
            assert len(language.sentences[group]) == len(passages)
        for group, clauses in english.clauses.items():
            assert set(language.clauses[group]) == set(clauses)
        assert set(language.lexicon) == set(english.lexicon)


@pytest.mark.parametrize("code", ["fr", "es"])
def test_gender_of_relatives_is_that_of_the_world(code: str) -> None:
    data = files("llmos.data.storyworld") / "lexicon" / f"{code}.toml"
    entries = dict(e.split(": ") for e in tomllib.loads(data.read_text())["words"] if ": " in e)
    for kin in VALUES["kin"]:
        article = entries[kin].split()[0]
        assert ("f" if article in ("une", "una") else "m") == GENDER[kin]


# Rules of the languages that the generator does not share: what must never be written.
NEVER = {
    "en": r"\ba [aeiou]|\ban [^aeiou]|\b(he|she)\b.* himself",
    "fr": r"\b(de|le|la|que|ne|se|je|me|te|sa|ma) [aeiouyéèêâîôûœh]|\b(à|de) les?\b"
    r"|(vieux|beau) [aéio]",
    "es": r"\b(de|a) el\b|\by i|\b(un|el|del|al) \w+a\b(?<!problema)",
    "zh": r"[,.!?:;\"A-Za-z ]|的的|一(伞|帽子|猫|马)|[一那]个(伞|帽子|猫|狗|马|椅子|毯子|围巾)",
}


@pytest.mark.parametrize("code", CODES)
def test_independent_rules(code: str) -> None:
    for text in texts(code, 800):
        assert not (found := re.search(NEVER[code], text, re.IGNORECASE)), (found, text)
        assert not re.search(r"[{}@+/|]|  | [,.]", text), text


# (woman, man): what the words of one never say of the other.
AGREEMENT = {
    "en": (r"\b(she|her)\b", r"\b(he|him|his)\b"),
    "fr": (r"\best rentrée\b|\bs'est assise\b", r"\best rentré\b|\bs'est assis\b"),
    "es": (
        r"\b(contenta|orgullosa|cansada|enfadada)\b",
        r"\b(contento|orgulloso|cansado|enfadado)\b",
    ),
    "zh": (r"她", r"(?<!吉)他(?!们)"),
}


@pytest.mark.parametrize("code", CODES)
def test_words_agree_with_the_hero(code: str) -> None:
    seen = {"f": 0, "m": 0}
    for index in range(1000):
        facts = sample_story(8, index)
        gender = GENDER[facts.values["hero"]]
        women, men = AGREEMENT[code]
        story = tell(facts, code)
        told = f"{story.text} {story.facts['summary']}"
        if facts.frame == "gift":  # tells of the relative too
            continue
        seen[gender] += bool(re.search(women if gender == "f" else men, told, re.IGNORECASE))
        assert not re.search(men if gender == "f" else women, told, re.IGNORECASE), told
    assert min(seen.values()) > 100


def test_write_stories(tmp_path: Path) -> None:
    paths = write_stories(tmp_path / "a", 10, ["en", "zh"], seed=1, share={"zh": 0.5})
    assert [path.name for path in paths] == ["en.jsonl", "zh.jsonl", "card.json"]
    english = [json.loads(line) for line in paths[0].read_text(encoding="utf-8").splitlines()]
    chinese = [json.loads(line) for line in paths[1].read_text(encoding="utf-8").splitlines()]
    assert (len(english), len(chinese)) == (10, 5)
    assert english[3]["id"] == "storyworld-1-3-en"
    assert english[3]["text"] == tell(sample_story(1, 3), "en").text
    assert all(record["synthetic"] is True for record in english + chinese)
    card = json.loads(paths[2].read_text())
    assert card["synthetic"] is True
    assert card["licence"] == "CC0-1.0"
    assert (card["languages"], card["stories"], card["seed"]) == (["en", "zh"], 10, 1)
    again = write_stories(tmp_path / "b", 10, ["zh", "en"], seed=1, share={"zh": 0.5})
    assert again[0].read_bytes() == paths[1].read_bytes()


def test_ranges_apart_are_disjoint(tmp_path: Path) -> None:
    first = write_stories(tmp_path / "a", 20, ["fr"])[0].read_text().splitlines()
    second = write_stories(tmp_path / "b", 20, ["fr"], start=20)[0].read_text().splitlines()
    whole = write_stories(tmp_path / "c", 40, ["fr"])[0].read_text().splitlines()
    assert not set(first) & set(second)
    assert first + second == whole


def test_bad_values_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'xx'.*en, zh, fr, es"):
        write_stories(tmp_path, 1, ["en", "xx"])
    for number, start, languages in ((0, 0, ["en"]), (1, -1, ["en"]), (1, 0, [])):
        with pytest.raises(UsageError):
            write_stories(tmp_path, number, languages, start=start)
    for part in (0.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="share"):
            write_stories(tmp_path, 1, ["en"], share={"en": part})
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        write_stories(tmp_path / "file", 1, ["en"])
    (tmp_path / "other.jsonl").write_text("")
    with pytest.raises(UsageError, match=r"other\.jsonl"):
        write_stories(tmp_path, 1, ["en"])


GOLDEN = {
    "en": (
        "Emma was a student and lived in a small village near the river. One summer "
        "morning, she wanted to find the white goat that had run away from home. The reason"
        " was simple: it was her best friend. But it was raining hard, and she sat down, "
        'worried. Her cousin Elena heard about it and said: "Together we can do it." They '
        "waited under a tree until the rain stopped. They searched for hours, but the goat "
        "never came back. In the end, she was tired, and so was Elena."
    ),
    "es": (
        "Emma era estudiante y vivía en un pequeño pueblo cerca del río. Una mañana de "
        "verano, quería encontrar a la cabra blanca que se había escapado de casa. La razón"
        " era sencilla: era su mejor amiga. Pero llovía mucho, y Emma se sentó, preocupada."
        " Su prima Elena lo supo y dijo: «Juntas podemos hacerlo». Las dos esperaron bajo "
        "un árbol hasta que dejó de llover. Buscaron durante horas, pero la cabra nunca "
        "volvió. Al final, estaba cansada, y Elena también."
    ),
    "fr": (
        "Emma était étudiante et vivait dans un petit village près de la rivière. Un matin "
        "d'été, elle voulait retrouver la chèvre blanche qui s'était enfuie de la maison. "
        "La raison était simple\u00a0: c'était sa meilleure amie. Mais il pleuvait très fort, et"
        " elle s'est assise, inquiète. Sa cousine Elena l'a appris et a dit\u00a0: "
        "«\u00a0Ensemble, nous pouvons le faire.\u00a0» Elles ont attendu la fin "
        "de la pluie sous un arbre. Elles"
        " ont cherché pendant des heures, mais la chèvre n'est jamais revenue. À la fin, "
        "elle était fatiguée, et Elena aussi."
    ),
    "zh": (
        "艾玛是一名学生，住在离小河不远的一个小村庄里。夏天的一个早晨，她想找到从家里"
        "跑走的那只白山羊。原因很简单：它是她最好的朋友。但是雨下得很大，她坐了下来，"
        "心里很担心。她的表姐埃琳娜听说了这件事，说：“我们一起就能做到。”她们在树下"
        "等到雨停了。她们找了很久，但是那只山羊再也没有回来。最后，她很疲倦，埃琳娜也"
        "一样。"
    ),
}
