"""Whether a text has the small words that any running text of its language has.

Gopher (arXiv 2112.11446, A1.1) asks for two of eight English ones. As FineWeb2 does (arXiv
2506.20920), other languages have lists of their own: eight or so of their most frequent words.
"""

from __future__ import annotations

import re
from functools import cache

from llmos.data.steps.quality.page import base_language

_STOP_WORDS = {
    "ar": "في من على إلى أن التي هذا عن",
    "bg": "на и да се за от не са",
    "bn": "এই এবং করে একটি থেকে জন্য যে না",
    "ca": "de la el i que en per a",
    "cs": "a v se na je že s to",
    "da": "og i at er en til det på",
    "de": "der die und das ist nicht mit zu in den von",
    "el": "και το να του η της με για",
    "en": "the be to of and that have with",
    "es": "de la que el en y los un una es",
    "fa": "و در به از که این را با",
    "fi": "ja on ei että se oli kun myös",
    "fr": "de la le et les des est un une dans que",
    "he": "של את על לא זה עם או הוא",
    "hi": "के है में की का और को से",
    "hr": "i u je na se da za su",
    "hu": "a az és hogy nem is egy van",
    "id": "yang dan di untuk dengan ini dari dalam",
    "it": "di che e la il un per in è non",
    "ja": "の に は を た が で と",
    "km": "នៃ និង ជា មាន ក្នុង ដែល បាន ការ",
    "ko": "이 는 의 에 을 를 은 다",
    "lo": "ແລະ ຂອງ ທີ່ ໃນ ເປັນ ມີ ການ ໄດ້",
    "ms": "yang dan di untuk dengan ini dari dalam",
    "my": "သည် ၏ များ နှင့် ကို မှ တွင် သော",
    "nl": "de van een het en in is dat op te",
    "no": "og i er det på som en til",
    "pl": "w i na z się nie do jest że",
    "pt": "de a o que e do da em um para",
    "ro": "de și în a la cu pe un o care",
    "ru": "и в не на что с по как для",
    "sr": "и у је на се да за су i u je na se da za su",
    "sv": "och i att det som en på är",
    "sw": "ya na wa kwa ni katika za la",
    "ta": "ஒரு என்று இந்த மற்றும் என அது ஆகும் இது",
    "te": "ఈ మరియు ఒక కోసం మీరు ఆ లేదా అది",
    "th": "ที่ และ ของ ใน เป็น มี การ ได้",
    "tr": "ve bir bu da de için ile olarak",
    "uk": "і в не на що з до та у",
    "ur": "کے میں ہے کی اور سے کا کو",
    "vi": "và của là các có cho trong một được",
    "zh": "的 是 在 了 有 和 不 我 一 人 為 为",
}
_ATTACHED = frozenset({"ja", "km", "ko", "lo", "my", "th", "zh"})
"""Languages in which these words stand next to others without a blank."""
_VOWELLED = frozenset({"ar", "fa", "he", "ur"})
_VOWELS = re.compile("[\u0591-\u05c7\u0640\u064b-\u065f\u0670]")
"""Vowel signs of Hebrew and Arabic, and the stroke that stretches Arabic words."""


@cache
def _pattern(language: str) -> re.Pattern[str] | None:
    words = _STOP_WORDS.get(language)
    if words is None:
        return None
    alternatives = "|".join(sorted(set(words.split()), key=len, reverse=True))
    return re.compile(
        alternatives if language in _ATTACHED else rf"(?<!\w)(?:{alternatives})(?!\w)"
    )


def has_stop_words(text: str, language: str, number: int) -> bool:
    """Whether at least `number` different stop words of the language are in the text.

    True for languages that have no list here: of them nothing can be said.
    """
    language = base_language(language)
    pattern = _pattern(language)
    if pattern is None:
        return True
    if language in _VOWELLED:
        text = _VOWELS.sub("", text)
    found: set[str] = set()
    for match in pattern.finditer(text):
        found.add(match[0])
        if len(found) >= number:
            return True
    return False
