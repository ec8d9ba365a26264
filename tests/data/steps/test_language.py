"""Language identification: what is told, what a record says, and what is dropped."""

from __future__ import annotations

import gzip
import json
import pickle
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from py3langid.langid import LanguageIdentifier

from llmos.data.documents import Document
from llmos.data.steps.language import IdentifyLanguage, _classifier, identify
from llmos.data.steps.language_codes import _SHORT, language_code, language_pair
from llmos.data.steps.step import Drop

COURSE = Path(__file__).parents[4] / "shared" / "data" / "pretrain-hf-course" / "jsonl"
SENTENCES = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "sw": "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa.",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах.",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
    "fa": "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।",
    "zh": "人人生而自由，在尊严和权利上一律平等。",
    "ja": "すべての人間は、生まれながらにして自由であり、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "ta": "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "my": "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း မွေးဖွားလာသူများ ဖြစ်သည်။",
}
CODE = "def f(x):\n    return np.array([x], dtype=np.float32)  # 0x1f\n"


@pytest.fixture(scope="module")
def model() -> LanguageIdentifier:
    return _classifier().__self__  # type: ignore[attr-defined]  # loaded once for all


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences_and_long_texts(language: str, model: LanguageIdentifier) -> None:
    sentence = SENTENCES[language]
    assert identify(sentence) == language == language_code(model.classify(sentence)[0])
    assert identify((sentence + "\n") * 200) == language


def test_pieces_from_all_over_are_looked_at() -> None:
    text = CODE * 10 + (SENTENCES["fr"] + " ") * 60
    assert identify(text) == "fr"


def test_a_few_words_of_another_script_do_not_decide() -> None:
    korean = "The Korean word 자유 means freedom, and 평등 means equality before the law. "
    assert identify(korean * 5) == "en"
    assert identify("日本国憲法第九条、" + SENTENCES["zh"]) == "zh"
    assert identify("『坊っちゃん』（夏目漱石著作集全三十巻収録作品）の評論") == "ja"


def test_what_cannot_be_told_is_undetermined() -> None:
    for text in ("", " \n", "12345 67.89", "☃ ♥", "ok"):
        assert identify(text) in ("und", "zxx")


def test_what_a_record_says_is_kept() -> None:
    step, counts = IdentifyLanguage(), Counter[str]()
    for said in ("en-GB", "eng_Latn", "en"):
        document = Document("a", SENTENCES["en"], language=said)
        assert step(document, counts) is document
    assert not counts
    wrong = Document("b", SENTENCES["fr"], language="en")
    assert step(wrong, counts) is wrong
    assert counts == {"language_disagrees": 1}
    named = step(Document("c", SENTENCES["fr"], language="French"), counts)
    assert isinstance(named, Document)
    assert named.language == "fr"


def test_drops_what_is_not_wanted() -> None:
    step, counts = IdentifyLanguage(("fra", "zh")), Counter[str]()
    for language in ("fr", "zh"):
        kept = step(Document("a", SENTENCES[language]), counts)
        assert isinstance(kept, Document)
        assert kept.language == language
    assert step(Document("b", SENTENCES["de"]), counts) == Drop("language_not_wanted")
    assert step(Document("c", "12 34"), counts) == Drop("language_not_wanted")
    said = Document("d", SENTENCES["de"], language="zh-Hant")
    assert step(said, counts) is said
    assert isinstance(IdentifyLanguage(("und", "zxx"))(Document("c", "12 34"), counts), Document)


def test_both_languages_of_a_pair_count() -> None:
    fields = {"source": SENTENCES["en"], "target": SENTENCES["sw"]}
    pair, counts = Document("a", "\n".join(fields.values()), fields), Counter[str]()
    found = IdentifyLanguage(("en", "sw"))(pair, counts)
    assert isinstance(found, Document)
    assert found.language == "en-sw"
    assert IdentifyLanguage(("en",))(pair, counts) == Drop("language_not_wanted")
    again = IdentifyLanguage(("en", "sw"))(found, counts)
    assert again is found
    assert not counts


def test_codes() -> None:
    assert [language_code(c) for c in ("pt-BR", "zh_Hant", "eng_Latn", "cmn", "yue", "nb")] == [
        "pt", "zh", "en", "zh", "zh", "no",
    ]  # fmt: skip
    assert language_code("Chinese") == language_code("") == ""
    assert language_pair("en-sw") == ("en", "sw")
    assert language_pair("pt-BR") == ("pt",)
    assert language_pair("en-en") == ("en",)


def test_every_two_letter_code_of_the_model_is_in_the_table(model: LanguageIdentifier) -> None:
    short = {label for label in model.labels if len(label) == 2} - {"nb"}
    assert short == set(_SHORT.values()) - {"yi"}
    assert all(_SHORT[code] == code for code in _SHORT.values())


def test_a_step_can_be_sent_to_another_process() -> None:
    step = IdentifyLanguage(("en",))
    step(Document("a", SENTENCES["en"]), Counter())
    assert pickle.loads(pickle.dumps(step)) == step


@pytest.mark.skipif(not COURSE.is_dir(), reason="the shared data is not here")
def test_pages_in_twenty_languages() -> None:
    """A page in each language: told as well as py3langid tells the whole text."""
    for file in sorted(COURSE.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            page = max((json.loads(line)["text"] for line in islice(lines, 9)), key=len)
        assert identify(page) == file.name[:2]
