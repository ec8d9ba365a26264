"""Parallel text: aligned files, two columns, gettext catalogues, translation memories."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from xml.parsers.expat import EXPAT_VERSION

import polib
import pytest

from llmos.data.reading.parallel import DAMAGED, FUZZY, OBSOLETE, ONE_COLUMN, UNEQUAL
from llmos.data.reading.tmx import NO_XML

if TYPE_CHECKING:
    from tests.data.reading.conftest import Read, Write


def pair(source: str, target: str, *languages: str) -> Mapping[str, str]:
    names = ("source_language", "target_language")
    return {"source": source, "target": target, **dict(zip(names, languages, strict=True))}


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_aligned_files(suffix: str, write: Write, read: Read) -> None:
    write(f"News.en-sw.sw{suffix}", "Habari.\r\n\r\n\r\nAsante.")
    write(f"News.en-sw.en{suffix}", "Hello.\n\nNo target.\nThanks.\n")
    found, problems = read(limit=5)
    assert [(d.id, d.fields, d.key) for d in found] == [
        (f"in/News.en-sw.en{suffix}:1", pair("Hello.", "Habari.", "en", "sw"), "Hello."),
        (f"in/News.en-sw.en{suffix}:4", pair("Thanks.", "Asante.", "en", "sw"), "Thanks."),
    ]
    assert [p.reason for p in problems] == ["empty target"]
    assert found[0].text == "Hello.\nHabari."


def test_aligned_files_of_different_length(write: Write, read: Read) -> None:
    write("a.de-zh_CN.de", "eins\nzwei\n")
    write("a.de-zh_CN.zh_CN", "一\n")
    write("b.txt", "the rest")
    found, problems = read()
    assert [d.text for d in found] == ["the rest"]
    assert [p.reason for p in problems] == [UNEQUAL]


def test_two_columns(write: Write, read: Read) -> None:
    write("cmn.en-zh.tsv", 'Hi.\t嗨。\tfrom a list\n"Run!\t跑！\nalone\n\n')
    found, problems = read()
    assert [(d.id, d.fields) for d in found] == [
        ("in/cmn.en-zh.tsv:1", pair("Hi.", "嗨。", "en", "zh")),
        ("in/cmn.en-zh.tsv:2", pair('"Run!', "跑！", "en", "zh")),
    ]
    assert [p.reason for p in problems] == [ONE_COLUMN]


def catalogue() -> polib.POFile:
    made = polib.POFile()
    made.metadata = {"Content-Type": "text/plain; charset=ISO-8859-2", "Language": "pl"}
    made.append(polib.POEntry(msgid="Open the file", msgstr="Otwórz plik"))
    made.append(polib.POEntry(msgid="Close", msgstr="Zamknąć?", flags=["fuzzy"]))
    made.append(polib.POEntry(msgid="Untranslated", msgstr=""))
    made.append(polib.POEntry(msgid="Old", msgstr="Stary", obsolete=True))
    forms = {0: "%d plik", 1: "%d pliki", 2: "%d plików"}
    made.append(polib.POEntry(msgid="%d file", msgid_plural="%d files", msgstr_plural=forms))
    return made


EXPECTED = [
    pair("Open the file", "Otwórz plik", "en", "pl"),
    pair("%d file", "%d plik", "en", "pl"),
    pair("%d files", "%d plików", "en", "pl"),
]


def test_gettext(write: Write, read: Read, tmp_path: Path) -> None:
    write("pl.po", str(catalogue()).encode("iso8859-2"))
    found, problems = read()
    assert [d.fields for d in found] == EXPECTED
    assert sorted(p.reason for p in problems) == sorted([FUZZY, "empty target", OBSOLETE])
    made = catalogue()
    made.metadata["Content-Type"] = "text/plain; charset=UTF-8"
    (tmp_path / "in/pl.po").unlink()
    made.save_as_mofile(str(tmp_path / "in/pl.mo"))
    found, problems = read()
    in_order = sorted(EXPECTED, key=lambda fields: fields["source"])  # as in all .mo files
    assert [d.fields for d in found] == in_order
    assert not problems


def test_damaged_catalogues(write: Write, read: Read) -> None:
    write("a.po", 'msgid "open\nmsgstr\n"x')
    write("b.mo", b"\xde\x12\x04\x95" + b"\xff" * 40)
    write("c.mo", b"not one")
    write("d.txt", "the rest")
    found, problems = read()
    assert [d.text for d in found] == ["the rest"]
    assert [p.reason for p in problems] == [DAMAGED] * 3


TMX = """<?xml version="1.0" encoding="{encoding}"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en-GB" segtype="sentence"/><body>
<tu><note>not a word</note><tuv xml:lang="fr"><seg>Ouvrez <ph x="1">&lt;b&gt;</ph>la
porte</seg></tuv><tuv xml:lang="EN-gb"><seg>Open the <hi>door</hi></seg></tuv></tu>
<tu srclang="de"><tuv lang="de"><seg>Größe &amp; Maß</seg></tuv>
<tuv lang="fr"><seg>Taille</seg></tuv><tuv lang="it"><seg> </seg></tuv></tu>
</body></tmx>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
@pytest.mark.parametrize("name", ["a.tmx", "a.tmx.gz"])
def test_translation_memories(name: str, encoding: str, write: Write, read: Read) -> None:
    write(name, TMX.format(encoding=encoding).encode(encoding))
    found, problems = read()
    assert [(d.id, d.fields) for d in found] == [
        (f"in/{name}:1", pair("Open the door", "Ouvrez la\nporte", "EN-gb", "fr")),
        (f"in/{name}:2", pair("Größe & Maß", "Taille", "de", "fr")),
    ]
    assert [p.reason for p in problems] == ["empty target"]


def test_a_long_memory_takes_little_memory(write: Write, read: Read) -> None:
    unit = '<tu><tuv lang="en"><seg>{0} x</seg></tuv><tuv lang="fr"><seg>{0} y</seg></tuv></tu>\n'
    body = "".join(unit.format("word " * 20 + str(n)) for n in range(3000))
    from llmos.data.reading.chunks import plan, read_part
    from llmos.recipe import DataSection

    path = write("a.tmx", f"<tmx><header/><body>{body}</body></tmx>")
    ((part,),) = [chunk.parts for chunk in plan([str(path)]).chunks]
    tracemalloc.start()
    assert sum(1 for _ in read_part(part, DataSection(), "pair")) == 3000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * path.stat().st_size


def test_damaged_and_hostile_xml(write: Write, read: Read) -> None:
    write("a.tmx", TMX.format(encoding="utf-8")[:-60])
    found, problems = read()
    assert len(found) >= 1
    assert problems[-1].reason == NO_XML
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
    laughs = f'<!DOCTYPE tmx [<!ENTITY e0 "ha">{entities}]>'
    unit = '<tu><tuv lang="en"><seg>&e12;</seg></tuv><tuv lang="fr"><seg>x</seg></tuv></tu>'
    write("a.tmx", f"{laughs}<tmx><header/><body>{unit}</body></tmx>")
    assert tuple(map(int, EXPAT_VERSION.removeprefix("expat_").split("."))) >= (2, 4, 1)
    found, problems = read()
    assert not found
    assert [p.reason for p in problems] == [NO_XML]
    outside = '<!DOCTYPE tmx [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    write("a.tmx", f"{outside}<tmx><header/><body>{unit.replace('e12', 'e')}</body></tmx>")
    assert "root:" not in str(read())
