"""Bytes to text: what Python's codecs wrote must come back, and what is not text is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.reading.encodings import codec, decode, encoding_of
from llmos.data.reading.parts import UnreadableError

TEXTS = {
    "de": "Über die Größe des Gebäudes stritten die Bürger in der Straße lange und fröhlich.\n",
    "cs": "Všichni obyvatelé města přišli k řece, protože žízeň koní byla příliš veliká.\n",
    "ru": "Сегодня утром мы долго шли через лес и наконец увидели широкую реку.\n",
    "el": "Το πρωί περπατήσαμε πολλή ώρα μέσα στο δάσος και είδαμε το ποτάμι.\n",
    "he": "בבוקר הלכנו זמן רב ביער ולבסוף ראינו את הנהר הרחב.\n",
    "ar": "مشينا هذا الصباح طويلا في الغابة ثم رأينا النهر الواسع.\n",
    "th": "เช้านี้เราเดินผ่านป่าเป็นเวลานานและในที่สุดก็เห็นแม่น้ำกว้าง\n",
    "ja": "今朝は森の中を長い間歩いて、ついに広い川が見えました。カメラで写真を撮る。\n",
    "ko": "오늘 아침 우리는 숲 속을 오래 걸어서 마침내 넓은 강을 보았습니다.\n",
    "zh": "今天早上我们在森林里走了很久，终于看到了宽阔的河流。\n",
    "zh-Hant": "今天早上我們在森林裡走了很久，終於看到了寬闊的河流。\n",
}


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        ("de", "iso8859-1"),
        ("cs", "iso8859-2"),
        ("cs", "cp1250"),
        ("ru", "cp1251"),
        ("ru", "koi8-r"),
        ("ru", "cp866"),
        ("ru", "iso8859-5"),
        ("el", "iso8859-7"),
        ("he", "cp1255"),
        ("ar", "cp1256"),
        ("th", "cp874"),
        ("ja", "shift_jis"),
        ("ja", "euc-jp"),
        ("ja", "iso2022_jp"),
        ("ko", "euc-kr"),
        ("ko", "iso2022_kr"),
        ("zh", "gb2312"),
        ("zh", "gb18030"),
        ("zh", "hz"),
        ("zh-Hant", "big5"),
    ],
)
def test_legacy_encodings(language: str, encoding: str) -> None:
    text = "Title\n" + 2 * TEXTS[language]
    assert decode(text.encode(encoding)) == (text, False)


@pytest.mark.parametrize("language", sorted(TEXTS))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode(language: str, encoding: str) -> None:
    assert decode(TEXTS[language].encode(encoding)) == (TEXTS[language], False)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark(encoding: str) -> None:
    assert decode(TEXTS["de"].encode(encoding)) == (TEXTS["de"], False)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff\x1b~")))
def test_utf8_is_never_taken_for_something_else(text: str) -> None:
    assert decode(text.encode()) == (text, False)


def test_cut_and_damaged_utf8_stays_utf8() -> None:
    text = 20 * TEXTS["zh"]
    assert decode(text.encode()[:-2]).text == text[:-2] + "\ufffd"
    middle = len(TEXTS["zh"].encode())
    damaged = text.encode()[:middle] + b"\xff\xfe\x80" + text.encode()[middle:]
    assert decode(damaged) == (TEXTS["zh"] + 3 * "\ufffd" + 19 * TEXTS["zh"], True)


def test_a_declared_encoding_is_used_where_the_bytes_do_not_tell() -> None:
    data = "nǎo".replace("ǎ", "é").encode("iso8859-15")
    assert decode(data, "koi8-r").text == data.decode("koi8-r")
    assert decode("né".encode(), "koi8-r").text == "né"  # valid UTF-8 goes before
    assert decode("né".encode("cp1252"), "utf-8").text == "né"
    assert decode("né".encode("cp1252"), "no such thing").text == "né"


@pytest.mark.parametrize(
    "data", [b"a\0b", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", bytes(100), b"text\0" * 10]
)
def test_what_is_not_text_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="NUL"):
        decode(data)


def test_names_on_the_web() -> None:
    assert codec(" 'Windows-1252' ") == "cp1252"
    assert codec("ISO-8859-1") == codec("latin1") == "cp1252"
    assert codec("GB2312") in ("gb2312", "gb18030")
    assert [codec(name) for name in ("", "hex", "base64", "undefined-7")] == [""] * 4


def test_ascii_with_tildes_is_not_hz() -> None:
    assert encoding_of(rb"In LaTeX \foo~{bar} and ~{\bf x y}~} stand for themselves.") == "utf-8"


ARCHIVE = Path(__file__).parents[4] / "shared" / "data" / "pretrain-udhr" / "udhr.zip"


@pytest.mark.skipif(not ARCHIVE.exists(), reason="the corpus is not here")
def test_all_files_of_a_corpus_in_utf8_and_latin1() -> None:
    # The other encodings: benchmarks/encodings.py.
    right = total = 0
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in archive.namelist():
            if name.endswith(("-UTF8", "-Latin1")) and "Cesky" not in name:
                data = archive.read(name)
                encoding = "utf-8" if name.endswith("8") else "cp1252"
                expected = data.decode(encoding, "replace").removeprefix("\ufeff")
                total += 1
                right += decode(data).text == expected
    assert total > 250
    assert right / total > 0.97
