"""The languages in which models are asked, and the names that they give to languages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from llmos.errors import UsageError

DEFAULT = "en"
_CODES = ("en", "zh", "fr", "es", "de", "sw", "id", "ja", "ar", "pt", "ru", "it", "hi", "ko")
_NAMES = {
    "en": "English, Chinese, French, Spanish, German, Swahili, Indonesian, Japanese, Arabic, "
    "Portuguese, Russian, Italian, Hindi, Korean",
    "zh": "英语, 中文, 法语, 西班牙语, 德语, 斯瓦希里语, 印尼语, 日语, 阿拉伯语, "
    "葡萄牙语, 俄语, 意大利语, 印地语, 韩语",
    "fr": "anglais, chinois, français, espagnol, allemand, swahili, indonésien, japonais, arabe, "
    "portugais, russe, italien, hindi, coréen",
    "es": "inglés, chino, francés, español, alemán, suajili, indonesio, japonés, árabe, "
    "portugués, ruso, italiano, hindi, coreano",
    "de": "Englisch, Chinesisch, Französisch, Spanisch, Deutsch, Swahili, Indonesisch, Japanisch, "
    "Arabisch, Portugiesisch, Russisch, Italienisch, Hindi, Koreanisch",
    "sw": "Kiingereza, Kichina, Kifaransa, Kihispania, Kijerumani, Kiswahili, Kiindonesia, "
    "Kijapani, Kiarabu, Kireno, Kirusi, Kiitaliano, Kihindi, Kikorea",
    "id": "Inggris, Tionghoa, Prancis, Spanyol, Jerman, Swahili, Indonesia, Jepang, Arab, "
    "Portugis, Rusia, Italia, Hindi, Korea",
    "ja": "英語, 中国語, フランス語, スペイン語, ドイツ語, スワヒリ語, インドネシア語, 日本語, "
    "アラビア語, ポルトガル語, ロシア語, イタリア語, ヒンディー語, 韓国語",
    "ar": "الإنجليزية, الصينية, الفرنسية, الإسبانية, الألمانية, السواحلية, الإندونيسية, اليابانية, "
    "العربية, البرتغالية, الروسية, الإيطالية, الهندية, الكورية",
}
NAMES: Mapping[str, Mapping[str, str]] = {
    language: dict(zip(_CODES, names.split(", "), strict=True))
    for language, names in _NAMES.items()
}
"""The name of a language, by the language it is said in and by its code."""

_WORDS = {
    "en": "Summary, Text, Question, Answer, User, Assistant, Sentiment",
    "zh": "摘要, 文章, 问题, 答案, 用户, 助手, 情感",
    "fr": "Résumé, Texte, Question, Réponse, Utilisateur, Assistant, Sentiment",
    "es": "Resumen, Texto, Pregunta, Respuesta, Usuario, Asistente, Sentimiento",
    "de": "Zusammenfassung, Text, Frage, Antwort, Nutzer, Assistent, Stimmung",
    "sw": "Muhtasari, Maandishi, Swali, Jibu, Mtumiaji, Msaidizi, Hisia",
    "id": "Ringkasan, Teks, Pertanyaan, Jawaban, Pengguna, Asisten, Sentimen",
    "ja": "要約, 文章, 質問, 答え, ユーザー, アシスタント, 感情",
    "ar": "الملخص, النص, السؤال, الجواب, المستخدم, المساعد, المشاعر",
}
_KEYS = ("Summary", "Text", "Question", "Answer", "User", "Assistant", "Sentiment")
WORDS: Mapping[str, Mapping[str, str]] = {
    language: dict(zip(_KEYS, words.split(", "), strict=True)) for language, words in _WORDS.items()
}
"""Headings of prompts, by language and by their English word."""

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "km", "bo"})
"""Languages that write no blank between sentences."""


def base(code: str) -> str:
    """The language of a tag: "zh" of "zh-Hant"."""
    return code.strip().lower().replace("_", "-").partition("-")[0]


def name_of(language: str, said_in: str) -> str:
    """How a language is called; a name that is no code of the table stays as it is."""
    return NAMES[said_in].get(base(language), language.strip())


def required(code: str) -> str:
    """A code in which a model can be asked. Raises `UsageError` for another."""
    if base(code) not in NAMES:
        raise UsageError(f"language {code!r} has no instructions: use {', '.join(NAMES)}")
    return base(code)


@cache
def detected(text: str) -> str:
    """The code of a text's language, or "" where it is not certain.

    Without the package py3langid only what the script alone tells.
    """
    from llmos.data.languages import script_of
    from llmos.data.steps.language import identify

    try:
        found = identify(text)
    except ImportError:
        return {"Han": "zh", "Kana": "ja", "Hangul": "ko"}.get(script_of(text), "")
    return "" if found in ("und", "zxx") else base(found)


def asked_in(text: str) -> str:
    """The language of a text if a model can be asked in it, else English."""
    found = detected(text)
    return found if found in NAMES else DEFAULT
