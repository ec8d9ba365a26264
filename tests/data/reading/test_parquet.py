"""Parquet files, by pyarrow's writer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from llmos.data.reading.chunks import plan
from llmos.data.reading.parquet import DAMAGED

if TYPE_CHECKING:
    from tests.data.reading.conftest import Read, Write


def test_rows_have_the_same_ids_whatever_the_limit(tmp_path: Path, read: Read) -> None:
    (tmp_path / "in").mkdir()
    texts = [f"text number {n} " + "x" * (n % 50) for n in range(2500)]
    urls = [f"https://a.example/{n}" for n in range(2500)]
    table = pa.table({"text": texts, "url": urls, "score": list(range(2500))})
    path = tmp_path / "in/a.parquet"
    pq.write_table(table, path, row_group_size=300)
    found, problems = read()
    assert not problems
    assert [(d.id, d.text, d.url) for d in found] == [
        (f"in/a.parquet:{n}", text, url)
        for n, (text, url) in enumerate(zip(texts, urls, strict=True), start=1)
    ]
    for limit in (1, 100_000):
        assert read(limit=limit) == (found, [])
    assert len(plan([str(path)], limit=1).chunks) == 9
    assert 1 < len(plan([str(path)], limit=100_000).chunks) < 9


def test_records_of_several_parts(tmp_path: Path, read: Read) -> None:
    (tmp_path / "in").mkdir()
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    table = pa.table({"messages": [messages, None], "lang": ["en", "en"]})
    pq.write_table(table, tmp_path / "in/a.parquet")
    found, problems = read(record="chat")
    assert [(d.text, d.language) for d in found] == [("hi\nhello", "en")]
    assert [p.reason for p in problems] == ["has messages that are no list of objects"]


def test_missing_texts_and_damaged_files(tmp_path: Path, read: Read, write: Write) -> None:
    (tmp_path / "in").mkdir()
    good = tmp_path / "in/a.parquet"
    pq.write_table(pa.table({"text": ["one", None]}), good)
    write("b.parquet", good.read_bytes()[:-20])
    write("c.parquet", b"PAR1 this is none PAR1")
    pq.write_table(
        pa.table({"text": [f"{n * 7919}" for n in range(9999)]}), good.with_name("d.parquet")
    )
    data = bytearray((tmp_path / "in/d.parquet").read_bytes())
    data[100:5000] = bytes(4900)
    (tmp_path / "in/d.parquet").write_bytes(data)
    found, problems = read()
    assert [d.text for d in found][:1] == ["one"]
    reasons = [p.reason for p in problems]
    assert reasons[:3] == [DAMAGED, DAMAGED, "has no text in the field 'text'"]
    assert reasons[3].startswith(DAMAGED)
