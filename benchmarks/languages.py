"""How often the language of a text is told right, and what that costs.

    python benchmarks/languages.py [--data ../shared/data] [--matrix]

Texts: the pages of the Hugging Face course in 20 languages (its language is the name of the file),
their paragraphs of at least 40 characters outside code, and the Universal Declaration of Human
Rights (its language and encoding are in the file names; the languages that py3langid knows).
Sides: llmos, py3langid on the whole text, and py3langid on the first 512 characters; Cantonese and
Wu count as Chinese for all. Prints the share right, wrong and undetermined, CPU seconds, megabytes
of text a second of CPU, and what was taken for what; `--matrix` prints the matrices of llmos on the
course.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from llmos.data.steps.language import identify
from llmos.data.steps.language_codes import UNKNOWN, language_code
from llmos.data.steps.normalize import normalize_text

CODE = re.compile(r"```.*?(?:```|\Z)|^\s*<.*?>\s*$", re.DOTALL | re.MULTILINE)
PARAGRAPH = 40
PREFIX = 512
# By the end of a file's name. The files called Latin1 and Latin2 are in Windows' extensions.
ENCODINGS = {
    "UTF8": "utf-8", "Latin1": "cp1252", "Latin2": "cp1250", "Cyrillic": "cp1251",
    "Arabic": "cp1256", "Greek": "cp1253", "Hebrew": "cp1255", "Turkish": "cp1254",
    "Baltic": "iso8859-4", "GB2312": "gb2312", "EUC": "euc_jp", "SJIS": "shift_jis",
    "Unicode": "utf-16",
}  # fmt: skip
# What a file in another language or encoding than its name says is called.
MISNAMED = ("Czech_Cesky-UTF8", "Punjabi_Panjabi-UTF8")
DECLARATION = {
    "Afaan": "om", "Afrikaans": "af", "Albanian": "sq", "Arabic": "ar", "Basque": "eu",
    "Belorus": "be", "Bengali": "bn", "Bikol": "bcl", "Bosnian": "bs", "Breton": "br",
    "Bulgarian": "bg", "Burmese": "my", "Catalan": "ca", "Chinese": "zh", "Croatian": "hr",
    "Czech": "cs", "Danish": "da", "Dutch": "nl", "English": "en", "Esperanto": "eo",
    "Estonian": "et", "Farsi": "fa", "Filipino": "tl", "Finnish": "fi", "French": "fr",
    "Frisian": "fy", "Galician": "gl", "German": "de", "Greek": "el", "Guarani": "gug",
    "Gujarati": "gu", "HaitianCreole": "ht", "Hausa": "ha", "Hebrew": "he", "Hindi": "hi",
    "Hrvatski": "hr", "Hungarian": "hu", "Icelandic": "is", "Igbo": "ig", "Indonesian": "id",
    "IrishGaelic": "ga", "Italian": "it", "Japanese": "ja", "Javanese": "jv", "Kannada": "kn",
    "Kazakh": "kk", "Kinyarwanda": "rw", "Korean": "ko", "Kurdish": "ku", "Lao": "lo",
    "Latin": "la", "Latvian": "lv", "Lingala": "ln", "Lithuanian": "lt", "Luganda": "lg",
    "Luxembourgish": "lb", "Macedonian": "mk", "Malagasy": "mg", "Malay": "ms", "Maltese": "mt",
    "Marathi": "mr", "Mongolian": "mn", "Nepali": "ne", "NorthernSotho": "nso",
    "Norwegian": "no", "OccitanLanguedocien": "oc", "Oromiffa": "om", "Polish": "pl",
    "Portuguese": "pt", "Quechua": "qu", "Romanian": "ro", "Russian": "ru", "Sami": "se",
    "Sanskrit": "sa", "ScottishGaelic": "gd", "Serbian": "sr", "Shona": "sn", "Sinhala": "si",
    "Slovak": "sk", "Slovenian": "sl", "Somali": "so", "SouthernSotho": "st", "Spanish": "es",
    "Swaheli": "sw", "Swahili": "sw", "Swedish": "sv", "Tamil": "ta", "Turkish": "tr",
    "Uighur": "ug", "Ukrainian": "uk", "Uzbek": "uz", "Vietnamese": "vi", "Walloon": "wa",
    "Welsh": "cy", "Xhosa": "xh", "Yoruba": "yo", "Zulu": "zu",
}  # fmt: skip
Labelled = list[tuple[str, str]]


def course(data: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each page."""
    for file in sorted((data / "pretrain-hf-course" / "jsonl").glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                yield language_code(record["lang"]), record["text"]


def paragraphs(pages: Labelled) -> Iterator[tuple[str, str]]:
    for language, text in pages:
        for paragraph in CODE.sub("", text).split("\n\n"):
            if len(paragraph.strip()) >= PARAGRAPH:
                yield language, paragraph.strip()


def declaration(data: Path) -> Iterator[tuple[str, str]]:
    archive = zipfile.ZipFile(data / "pretrain-udhr" / "udhr.zip")
    for path in sorted(archive.namelist()):
        name = path.removeprefix("udhr/")
        named, _, ending = name.rpartition("-")
        language = DECLARATION.get(re.split("[-_]", named)[0], "")
        language = "nn" if named.endswith("Nynorsk") else language
        if language and ending in ENCODINGS and name not in MISNAMED:
            text = archive.read(path).decode(ENCODINGS[ending], "ignore")  # cut at 10,000 bytes
            yield language, normalize_text(text)


def measure(
    name: str, side: str, texts: Labelled, identified: Callable[[str], str]
) -> Counter[tuple[str, str]]:
    """Print one line on one side; how often each language was taken for which."""
    started = time.process_time()
    found = [identified(text) for _, text in texts]
    seconds = time.process_time() - started
    taken = Counter((language, code) for (language, _), code in zip(texts, found, strict=True))
    size = sum(len(text.encode()) for _, text in texts) / 1e6
    right = sum(count for (language, code), count in taken.items() if language == code)
    unknown = sum(count for (_, code), count in taken.items() if code == UNKNOWN)
    shares = (right, len(texts) - right - unknown, unknown)
    print(
        f"{name:11}{side:22}{len(texts):7,}  "
        + "  ".join(f"{100 * share / len(texts):6.2f} %" for share in shares)
        + f"  {seconds:8.2f} s {size / seconds:7.1f} MB/s"
    )
    return taken


def top(taken: Counter[tuple[str, str]], most: int = 12) -> str:
    wrong = [(pair, n) for pair, n in taken.most_common() if pair[0] != pair[1]]
    return ", ".join(f"{a} as {b} {n}" for (a, b), n in wrong[:most]) or "none"


def print_matrix(taken: Counter[tuple[str, str]]) -> None:
    """Rows: the language; columns: what it was taken for."""
    rows = sorted({language for language, _ in taken})
    columns = [*rows, *sorted({code for _, code in taken} - set(rows))]
    print("     " + "".join(f"{code:>6}" for code in columns))
    for language in rows:
        counts = (taken[language, code] for code in columns)
        print(f"{language:5}" + "".join(f"{count or '.':>6}" for count in counts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--matrix", action="store_true")
    options = parser.parse_args()
    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identify("die Modelle, einmal vorab geladen")

    pages = list(course(options.data))
    sets = {
        "documents": pages,
        "paragraphs": list(paragraphs(pages)),
        "UDHR": list(declaration(options.data)),
    }
    print(f"{'':33}{'texts':>7}  {'right':>8}  {'wrong':>8}  {'unknown':>8}  CPU")
    for name, texts in sets.items():
        taken = measure(name, "llmos", texts, identify)
        whole = lambda text: language_code(model.classify(text)[0])  # noqa: E731
        other = measure(name, "py3langid, whole", texts, whole)
        measure(name, "py3langid, beginning", texts, lambda text: whole(text[:PREFIX]))  # noqa: B023
        print(f"  llmos: {top(taken)}\n  py3langid, whole: {top(other)}")
        if options.matrix and name != "UDHR":
            print_matrix(taken)


if __name__ == "__main__":
    main()
