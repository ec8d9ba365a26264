"""Web archives, as warcio writes them and as damage leaves them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from llmos.data.reading.streams import DAMAGED
from llmos.data.reading.warc import CUT, FAILED, NO_PAGE

if TYPE_CHECKING:
    from tests.data.reading.conftest import Read, Write

TEXT = "A page with a paragraph that is long enough to be its main content, number {}."
Answer = tuple[str, str, bytes, tuple[tuple[str, str], ...]]


def answer(number: int, kind: str = "text/html", **headers: str) -> Answer:
    body = f"<html><body><p>{TEXT.format(number)}</p></body></html>".encode()
    more = tuple((key.replace("_", "-"), value) for key, value in headers.items())
    return "200 OK", kind, body, more


def archive(*answers: Answer, gzip: bool = False) -> bytes:
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=gzip)
    writer.write_record(writer.create_warcinfo_record("a.warc", {"software": "test"}))
    for number, (status, kind, body, headers) in enumerate(answers, start=1):
        http = StatusAndHeaders(status, [("Content-Type", kind), *headers], protocol="HTTP/1.0")
        writer.write_record(
            writer.create_warc_record(
                f"https://a.example/{number}", "response", io.BytesIO(body), http_headers=http
            )
        )
    plain = io.BytesIO(b"Plain text of a page.")
    writer.write_record(
        writer.create_warc_record(
            "https://a.example/wet", "conversion", plain, warc_content_type="text/plain"
        )
    )
    return out.getvalue()


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_pages(name: str, write: Write, read: Read) -> None:
    japanese = "今朝は森の中を長い間歩いて、ついに広い川が見えました。"
    data = archive(
        answer(1, "text/html; charset=utf-8"),
        ("404 Not Found", "text/html", b"<p>gone</p>", ()),
        ("200 OK", "image/png", b"\x89PNG\0", ()),
        ("200 OK", "text/html; Charset=Shift_JIS", f"<p>{japanese}".encode("shift_jis"), ()),
        answer(5, X_Robots_Tag="noai"),
        answer(6, TDM_Reservation="1"),
        ("200 OK", "text/plain", b"only text", ()),
        ("200 OK", "text/html", b"\0\0", ()),
        gzip=name.endswith("gz"),
    )
    path = write("a.warc", data)
    if name != "a.warc":
        path = path.rename(path.with_name(name))  # each record is a member of its own
    found, problems = read()
    assert [(d.id, d.url.rpartition("/")[2], d.text) for d in found] == [
        (f"in/{name}:1", "1", TEXT.format(1)),
        (f"in/{name}:4", "4", japanese),
        (f"in/{name}:7", "7", "only text"),
        (f"in/{name}:9", "wet", "Plain text of a page."),
    ]
    assert {p.path.rpartition("/")[2]: p.reason for p in problems} == {
        "2": FAILED,
        "3": NO_PAGE,
        "5": "opted out: noai",
        "6": "opted out: tdm-reservation",
        "8": "not text: it holds NUL bytes",
    }


@pytest.mark.parametrize("gzip", [False, True])
def test_a_cut_archive(gzip: bool, write: Write, read: Read) -> None:
    data = archive(*(answer(number) for number in range(1, 9)), gzip=gzip)
    path = write("a.warc", data[: len(data) * 2 // 3])
    if gzip:
        path.rename(path.with_name("a.warc.gz"))
    found, problems = read()
    assert 3 <= len(found) < 8
    assert [d.text for d in found] == [TEXT.format(number) for number in range(1, len(found) + 1)]
    assert [p.reason for p in problems] == [DAMAGED if gzip else CUT]


def test_garbage(write: Write, read: Read) -> None:
    write("a.warc", b"this is no archive\r\n" * 100)
    write("b.warc", b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: no number\r\n\r\nx")
    write("c.txt", "the rest")
    found, problems = read()
    assert [d.text for d in found] == ["the rest"]
    assert len(problems) >= 2
