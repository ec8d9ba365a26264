from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from llmos import curves
from llmos.curves import MARKERS, Series, svg_chart, terminal_chart
from llmos.errors import UsageError

NAN = math.nan
SVG = "{http://www.w3.org/2000/svg}"


def falling(name: str, end: float, n: int = 30) -> Series:
    return Series(name, [(i, end + (5 - end) * math.exp(-i / 6)) for i in range(n)])


FOUR = [falling("together", 2.1), falling("alone", 3.0), falling("文化部", 3.2), falling("pool", 2)]


def svg_numbers(element: ET.Element, *names: str) -> list[float]:
    return [float(element.get(name, "nan")) for name in names]


def assert_inside(text: str, width: int, height: int) -> ET.Element:
    """Every coordinate, and every text at a generous width, is in the view box."""
    root = ET.fromstring(text)
    assert root.get("viewBox") == f"0 0 {width} {height}"
    for element in root:
        tag = element.tag.removeprefix(SVG)
        assert tag in {"title", "rect", "text", "line", "polyline", "circle"}  # nothing that runs
        xs: list[float] = []
        ys: list[float] = []
        if tag == "line":
            xs, ys = svg_numbers(element, "x1", "x2"), svg_numbers(element, "y1", "y2")
        elif tag == "circle":
            (x,), (y,), (r,) = (svg_numbers(element, name) for name in ("cx", "cy", "r"))
            xs, ys = [x - r, x + r], [y - r, y + r]
        elif tag == "polyline":
            pairs = [pair.split(",") for pair in element.get("points", "").split()]
            xs, ys = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
            assert len(pairs) > 1
        elif tag == "text":
            (x,), (y,) = svg_numbers(element, "x"), svg_numbers(element, "y")
            letter = 8.0 if element.get("font-size") else 6.2
            wide = cell_len(element.text or "") * letter
            start = {"start": x, "middle": x - wide / 2, "end": x - wide}[
                element.get("text-anchor", "")
            ]
            xs, ys = [start, start + wide], [y - 9, y + 3]
        assert all(-0.01 <= x <= width + 0.01 for x in xs), (tag, element.attrib, element.text)
        assert all(-0.01 <= y <= height + 0.01 for y in ys), (tag, element.attrib, element.text)
    return root


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_svg_shows_what_it_was_given() -> None:
    text = svg_chart(FOUR, "Loss <of> four & more", "round", "bits per byte")
    root = assert_inside(text, 720, 420)
    assert text == svg_chart(FOUR, "Loss <of> four & more", "round", "bits per byte")
    shown = texts(root)
    for expected in ["Loss <of> four & more", "round", "bits per byte", *(s.name for s in FOUR)]:
        assert expected in shown
    assert {"0", "5", "10", "25"} <= set(shown) and {"2.0", "2.5", "5.0"} <= set(shown)
    for one in FOUR:  # the last values, at the ends of the lines
        assert f"{one.points[-1][1]:.2f}" in shown
    assert len(list(root.iter(f"{SVG}polyline"))) == 4


def test_svg_points_are_where_the_axes_say() -> None:
    points = [(0.0, 1.0), (3.0, 4.0), (10.0, 2.5)]
    root = ET.fromstring(svg_chart([Series("a", points)], "t", "x", "y"))
    (line,) = root.iter(f"{SVG}polyline")
    drawn = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
    at = {t.text: svg_numbers(t, "x", "y") for t in root.iter(f"{SVG}text")}

    def x_of(value: float) -> float:
        return at["0"][0] + (at["10"][0] - at["0"][0]) * value / 10

    def y_of(value: float) -> float:  # labels stand 4 px under their gridlines
        y1, y4 = at["1.0"][1] - 4, at["4.0"][1] - 4
        return y1 + (y4 - y1) * (value - 1) / 3

    for (x, y), (px, py) in zip(points, drawn, strict=True):
        assert px == pytest.approx(x_of(x), abs=0.02) and py == pytest.approx(y_of(y), abs=0.02)


def test_svg_lines_differ_by_more_than_colour() -> None:
    many = [falling(f"m{i}", 2 + i / 10) for i in range(40)]
    root = assert_inside(svg_chart(many, "t", "x", "y", 720, 900), 720, 900)
    styles = {(e.get("stroke"), e.get("stroke-dasharray")) for e in root.iter(f"{SVG}polyline")}
    assert len(styles) == 40


def test_svg_end_labels_do_not_overlap() -> None:
    same = [Series(f"m{i}", [(0, 1), (1, 2 + i * 1e-3)]) for i in range(12)]
    root = assert_inside(svg_chart(same, "t", "x", "y"), 720, 420)
    right = max(svg_numbers(e, "x")[0] for e in root.iter(f"{SVG}text"))
    ys = sorted(svg_numbers(e, "y")[0] for e in root.iter(f"{SVG}text") if
                svg_numbers(e, "x")[0] == right)  # fmt: skip
    assert len(ys) == 12 and all(b - a >= 13.9 for a, b in pairwise(ys))


def test_gaps_and_lone_points() -> None:
    points = [(0, 1.0), (1, 2.0), (2, NAN), (3, 2.5), (4, math.inf), (5, 2.0), (6, 1.0), (NAN, 3)]
    one = Series("a", points)
    root = assert_inside(svg_chart([one, Series("none", [(1, NAN)])], "t", "x", "y"), 720, 420)
    assert len(list(root.iter(f"{SVG}polyline"))) == 2  # 0-1 and 5-6
    assert len(list(root.iter(f"{SVG}circle"))) == 2  # the point at 3, and the end
    assert "none (no data)" in texts(root)
    dotted = str(terminal_chart([one, Series("none", [])], 80, 20, "x", "y"))
    assert "▲ none (no data)" in dotted
    plot = [row[5:] for row in dotted.splitlines()[1:16]]
    empty = [c for c in range(70) if all(len(row) <= c or row[c] == " " for row in plot)]
    assert len(empty) > 30  # the columns of the gaps


@pytest.mark.parametrize("series", [[], [Series("a", [])], [Series("a", [(0, NAN), (NAN, 1)])]])
def test_nothing_to_draw_is_said(series: list[Series]) -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        terminal_chart(series, 80, 20, "x", "y")
    with pytest.raises(UsageError, match="nothing to draw"):
        svg_chart(series, "t", "x", "y")


def test_no_room_is_said_with_the_room_needed() -> None:
    for width, height in ((29, 20), (80, 7)):
        with pytest.raises(UsageError, match="30 columns and 8 rows"):
            terminal_chart(FOUR[:1], width, height, "x", "y")
    terminal_chart(FOUR[:1], 30, 8, "x", "y")
    with pytest.raises(UsageError, match="240"):
        svg_chart(FOUR, "t", "x", "y", 200, 400)
    with pytest.raises(UsageError) as caught:
        svg_chart(FOUR, "t", "x", "y", 720, 100)
    needed = int(re.findall(r"give (\d+)", str(caught.value))[0])
    assert_inside(svg_chart(FOUR, "t", "x", "y", 720, needed), 720, needed)
    with pytest.raises(UsageError, match="1e300"):
        svg_chart([Series("a", [(0, 1e301)])], "t", "x", "y")


def test_terminal_rows_show_a_straight_line_straight() -> None:
    chart = str(terminal_chart([Series("a", [(0, 0), (10, 10)])], 40, 16, "x", "y"))
    rows = chart.splitlines()
    assert rows[0] == "y" and rows[-1] == "● a" and rows[-2].strip() == "x"
    plot = [row.split("│")[-1].split("┤")[-1] for row in rows[1:-4]]
    centres = [[i for i, c in enumerate(row) if c != " "] for row in plot]
    filled = [sum(columns) / len(columns) for columns in centres if columns]
    assert filled[0] > filled[-1] + 20  # from the lower left to the upper right
    steps = [a - b for a, b in pairwise(filled)]
    assert all(abs(step - steps[len(steps) // 2]) <= 1.5 for step in steps[1:-1])
    labels = {row.split("┤")[0].strip(): i for i, row in enumerate(rows) if "┤" in row}
    assert labels["0"] - labels["10"] >= 8 and rows[-3].split() == ["0", "5", "10"]


def test_terminal_lines_are_told_apart_without_colour() -> None:
    chart = terminal_chart(FOUR, 90, 24, "round", "bits per byte")
    rows = str(chart).splitlines()
    assert rows[-1] == "● together  ▲ alone  ■ 文化部  ◆ pool"
    plot = "".join(rows[1:-4])
    assert all(plot.count(marker) >= 3 for marker in "●▲■◆")
    assert len(rows) == 24 and max(map(cell_len, rows)) <= 90
    same = [Series(str(i), [(0, 1), (1, 2)]) for i in range(6)]  # one on another
    plot = "".join(str(terminal_chart(same, 90, 24, "x", "y")).splitlines()[1:-4])
    assert all(marker in plot for marker in MARKERS[:6])


@pytest.mark.parametrize("colour", [True, False])
def test_terminal_chart_prints_with_and_without_colour(colour: bool) -> None:
    out = io.StringIO()
    console = Console(
        file=out, width=90, force_terminal=True, no_color=not colour, color_system="standard"
    )
    console.print(terminal_chart(FOUR, 90, 24, "x", "y"))
    found = set(re.findall(r"\x1b\[(3\d)m", out.getvalue()))
    assert found == ({"34", "31", "32", "35"} if colour else set())
    pipe = io.StringIO()
    Console(file=pipe, width=90).print(terminal_chart(FOUR, 90, 24, "x", "y"))
    assert "\x1b" not in pipe.getvalue() and "● together" in pipe.getvalue()


def test_tick_labels_have_a_unit_prefix_and_no_needless_digits() -> None:
    def labels(low: float, high: float) -> list[str]:
        return curves._axis([low, high], 5, 0.0).labels

    assert labels(0, 100) == ["0", "20", "40", "60", "80", "100"]
    assert labels(0, 50_000) == ["0", "10k", "20k", "30k", "40k", "50k"]
    assert labels(1.5e9, 4e9) == ["1500M", "2000M", "2500M", "3000M", "3500M", "4000M"]
    assert labels(-1, 1) == ["-1.0", "-0.5", "0.0", "0.5", "1.0"]
    assert labels(2.41, 2.49) == ["2.42", "2.44", "2.46", "2.48"]
    assert labels(0, 5e-7)[1] == "1e-07"


def test_names_cannot_smuggle_anything_in() -> None:
    bad = "\x1b[31mred\n</text><script>alert(1)</script>\x00\ud800"
    text = svg_chart([Series(bad, [(0, 1)])], bad, bad, bad)
    root = assert_inside(text, 720, 420)
    assert not list(root.iter(f"{SVG}script")) and "\x1b" not in text
    text.encode()
    chart = str(terminal_chart([Series(bad, [(0, 1)])], 80, 20, bad, bad))
    assert "\x1b" not in chart and len(chart.splitlines()) == 20
    chart.encode()


values = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-10, 10)
some_series = st.lists(
    st.builds(Series, st.text(max_size=30), st.lists(st.tuples(values, values), max_size=12)),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(some_series, st.text(max_size=60))
@example([Series("a", [(0, 5e-324), (5e-324, 0)])], "")
@example([Series("a", [(1e300, -1e300), (-1e300, 1e300)])], "t")
@example([Series("a", [(1e16, 1), (1e16 + 2, 1 + 1e-15)])], "t")
@example([Series("x" * 300, [(0, -123456.789), (1, 1e-9)])], "t" * 300)
def test_any_points_give_a_chart_in_its_frame_or_a_reason(
    series: Sequence[Series], label: str
) -> None:
    try:
        text = svg_chart(series, label, label, label)
        chart = str(terminal_chart(series, 60, 24, label, label))
    except UsageError as error:
        assert "nothing to draw" in str(error) or "1e300" in str(error)
        return
    assert_inside(text, 720, 420)
    rows = chart.splitlines()
    assert len(rows) == 24 and all(cell_len(row) <= 60 for row in rows)
