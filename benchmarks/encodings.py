"""How many files of many encodings are decoded right, by ours and by detectors on their own.

    python benchmarks/encodings.py [UDHR.ZIP]

The archive is udhr.zip of nltk_data: the Universal Declaration of Human Rights in about 300
languages, the encoding of each file in its name. A file is decoded right where the text is the same
as by that encoding, the byte order mark and the cut last character of some files aside. Names are
read as WHATWG's Encoding Standard reads them (Latin1 is windows-1252). Where the bytes are not what
a name says, `TRUTH` has what they are: most files of Latin2 have their š and ž at 0x9A and 0x9E, as
only windows-1250 does, and NLTK's reader of this corpus knows of others. Files in the encodings of
single fonts, or in ones that Python does not know, are left out.

The detectors are given files as they are, so `utf-8 first` is what they add to the test whether the
bytes are valid UTF-8. Speed is processor time for all files.
"""

from __future__ import annotations

import re
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from llmos.data.reading.encodings import codec, decode

ARCHIVE = Path(__file__).parents[2] / "shared" / "data" / "pretrain-udhr" / "udhr.zip"

TRUTH = (
    (r"Kazakh-Cyrillic", "ptcp154"),
    (r"Mongolian_Khalkha-Cyrillic", "iso8859-5"),
    (r"(Serbian_Srpski|Bosnian_Bosanski|Abkhaz|.*)-Cyrillic(\+Abkh)?", "cp1251"),
    (r"Czech_Cesky-UTF8|(Bosn|Croat|Hrvat|Czech|Polish|Serb|Slov|Sorb).*-Latin2", "cp1250"),
    (r".*-Latin1|Amahuaca", "cp1252"),
    (r".*-Latin2", "iso8859-2"),
    (r".*-Hebrew", "iso8859-8"),
    (r".*-Arabic", "cp1256"),
    (r".*-Greek", "iso8859-7"),
    (r".*-Turkish", "cp1254"),
    (r".*-Baltic", "iso8859-4"),
    (r".*-SJIS", "cp932"),
    (r".*-EUC", "euc-jp"),
    (r".*-JIS", "iso2022_jp"),
    (r".*-GB2312", "gb18030"),
    (r".*-HZ", "hz"),
    (r".*-UTF8~?", "utf-8"),
    (r".*-Unicode", "utf-16"),
)


def truth(name: str) -> str:
    """The encoding that a file's name tells; "" where it is none that Python knows."""
    return next((encoding for pattern, encoding in TRUTH if re.fullmatch(pattern, name)), "")


def plain(text: str) -> str:
    """Without the mark at the beginning and the cut character at the end."""
    return text.removeprefix("\ufeff").rstrip("\ufffd")


def by(detect: Callable[[bytes], str | None]) -> Callable[[bytes], str]:
    """Decode as a detector says, but UTF-8 where the bytes are valid."""

    def decoded(data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode(codec(detect(data) or "") or "utf-8", "replace")

    return decoded


def detectors() -> dict[str, Callable[[bytes], str | None]]:
    """Those that are installed, by name."""
    import chardetng_py

    found: dict[str, Callable[[bytes], str | None]] = {
        "always windows-1252": lambda data: "windows-1252",
        "chardetng": lambda data: chardetng_py.detect(data, allow_utf8=False),
    }
    try:
        import charset_normalizer

        def normalizer(data: bytes) -> str | None:
            best = charset_normalizer.from_bytes(data).best()
            return best.encoding if best else None

        found["charset-normalizer"] = normalizer
    except ImportError:
        pass
    try:
        import chardet

        found["chardet"] = lambda data: chardet.detect(data)["encoding"]
    except ImportError:
        pass
    try:
        import cchardet

        found["faust-cchardet"] = lambda data: cchardet.detect(data)["encoding"]
    except ImportError:
        pass
    from resiliparse.parse.encoding import detect_encoding

    found["resiliparse (uchardet)"] = detect_encoding
    return found


def main() -> None:
    archive = Path(sys.argv[1]) if len(sys.argv) > 1 else ARCHIVE
    with zipfile.ZipFile(archive) as opened:
        named = {info.filename.rpartition("/")[2]: opened.read(info) for info in opened.infolist()}
    files = [(name, data, truth(name)) for name, data in sorted(named.items()) if truth(name)]
    size = sum(len(data) for _, data, _ in files)
    other = sum(encoding not in ("utf-8", "utf-16") for _, _, encoding in files)
    print(f"{len(files)} files, {size / 1e6:.1f} MB, {other} of them not in Unicode")
    sides = {"ours": lambda data: decode(data).text}
    sides |= {f"utf-8 first, {name}": by(detect) for name, detect in detectors().items()}
    for name, side in sides.items():
        begun = time.process_time()
        texts = [side(data) for _, data, _ in files]
        seconds = time.process_time() - begun
        wrong = [
            file
            for (file, data, encoding), text in zip(files, texts, strict=True)
            if plain(text) != plain(data.decode(encoding, "replace"))
        ]
        right = len(files) - len(wrong)
        print(
            f"{name:38} {right:4} right, {right / len(files):.1%}; {size / seconds / 1e6:6.1f} MB/s"
        )
        if name == "ours":
            print("    wrong:", ", ".join(wrong))


if __name__ == "__main__":
    main()
