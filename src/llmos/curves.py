"""Line charts of training and comparison runs, for the terminal and as SVG.

    series = [Series("together", [(0, 5.1), (1, 4.2)]), Series("alone", [(0, 5.1), (1, 4.8)])]
    print(terminal_chart(series, x_label="round", y_label="bits per byte"))
    Path("loss.svg").write_text(svg_chart(series, "Validation loss", "round", "bits per byte"))

Both draw the points in the order given; a point with NaN or an infinity is a gap in its line. Units
belong into the labels. Series are told apart without colour as well: by markers in the terminal,
by dashes in SVG.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from llmos.errors import UsageError

Point = tuple[float, float]

# Okabe and Ito 2008, "Color Universal Design", darkened where a line on white needs it.
SVG_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5538c", "#a87500", "#2f8fc4", "#333333")
SVG_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "5 2 1 2 1 2")
TERMINAL_COLOURS = ("blue", "red", "green", "magenta", "yellow", "cyan", "default")
MARKERS = "●▲■◆○△□◇ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_TICKS = 6  # about as many on each axis
_MARKER_EVERY = 10  # columns between two markers on a line in the terminal
_BRAILLE = 0x2800
_BRAILLE_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # [column][row] of a cell


@dataclass
class Series:
    """A named line through (x, y) points."""

    name: str
    points: list[Point]


@dataclass(frozen=True)
class _Axis:
    """What an axis spans, where its ticks are, and what they say."""

    low: float
    high: float
    ticks: list[float]
    labels: list[str]

    def share(self, value: float) -> float:
        """0 at the low end of the axis, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)


def _axis(values: Sequence[float], ticks: int, margin: float) -> _Axis:
    """An axis over `values` with about `ticks` steps of 1, 2 or 5 times a power of ten.

    "Nice" steps after Heckbert 1990, "Nice numbers for graph labels", Graphics Gems. `margin` is
    the share of the span that is left free at each end.
    """
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)) or high - low < 1e-290:
        around = abs(low) * 0.05 if abs(low) > 1e-280 else 1.0
        low, high = low - around, high + around
    else:
        free = (high - low) * margin
        low, high = low - free, high + free
    raw = (high - low) / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1, 2, 5) if m * power >= raw * 0.75), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    at = [min(max(index * step, low), high) for index in range(first, last + 1)]
    return _Axis(low, high, at, _tick_labels(at, step))


def _tick_labels(ticks: Sequence[float], step: float) -> list[str]:
    """One suffix and one number of decimals for all ticks of an axis."""
    largest = max(map(abs, ticks), default=0.0)
    if not 1e-4 < step < 1e15 or largest >= 1e16:
        return [f"{tick:.3g}" for tick in ticks]
    unit, suffix = 1.0, ""
    for power, letter in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")):
        if largest >= 10 * power:
            unit, suffix = power, letter
    decimals = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    if decimals > 6:
        return [f"{tick:.6g}" for tick in ticks]
    return [f"{tick / unit + 0.0:.{decimals}f}{suffix if tick else ''}" for tick in ticks]


def _lines(series: Series) -> list[list[Point]]:
    """The unbroken stretches of a series."""
    lines: list[list[Point]] = [[]]
    for x, y in series.points:
        if math.isfinite(x) and math.isfinite(y):
            lines[-1].append((float(x), float(y)))
        elif lines[-1]:
            lines.append([])
    return [line for line in lines if line]


def _checked(series: Sequence[Series]) -> list[list[list[Point]]]:
    lines = [_lines(one) for one in series]
    values = [value for line in lines for part in line for point in part for value in point]
    if not values:
        names = ", ".join(one.name for one in series)[:80]
        raise UsageError(
            f"nothing to draw ({names or 'no series'}): give at least one point that is a number"
        )
    if max(map(abs, values)) > 1e300:
        raise UsageError("a point is beyond 1e300: leave it out or scale it")
    return lines


def _axes(lines: list[list[list[Point]]], x_ticks: int, y_ticks: int) -> tuple[_Axis, _Axis]:
    points = [point for line in lines for part in line for point in part]
    return (
        _axis([x for x, _ in points], x_ticks, 0.0),
        _axis([y for _, y in points], y_ticks, 0.04),
    )


# --- terminal ------------------------------------------------------------------------------------


def terminal_chart(
    series: Sequence[Series],
    width: int = 80,
    height: int = 20,
    x_label: str = "",
    y_label: str = "",
) -> Text:
    """A chart of `width` columns and `height` rows in braille dots, for `rich` to print.

    Each line carries its marker, so that `str(chart)` reads well without colour too. Raises
    `UsageError` when there is nothing to draw or no room to draw it.
    """
    lines = _checked(series)
    legend = _terminal_legend(series, lines, width)
    rows = height - 4 - len(legend)
    if width < 30 or rows < 3:
        raise UsageError(
            f"a chart of {width} x {height} is too small: give 30 columns and "
            f"{7 + len(legend)} rows or more"
        )
    x_axis, y_axis = _axes(lines, max(1, width // 14), max(1, min(_TICKS, rows // 2)))
    left = max(map(cell_len, y_axis.labels)) + 1
    columns = width - left - 1
    y_rows = {
        round((1 - y_axis.share(tick)) * (rows - 1)): label
        for tick, label in zip(y_axis.ticks, y_axis.labels, strict=True)
    }
    chart = Text(no_wrap=True)
    chart.append(set_cell_size(_one_line(y_label), width).rstrip() + "\n")
    for row, cells in enumerate(_canvas(lines, x_axis, y_axis, columns, rows)):
        label = y_rows.get(row)
        chart.append(f"{label or '':>{left - 1}} {'┤' if label else '│'}", "dim")
        for text, colour in cells:
            chart.append(text, colour)
        chart.append("\n")
    chart.append(_terminal_x_axis(x_axis, left, columns), "dim")
    under = set_cell_size(_one_line(x_label), columns).strip()
    chart.append(" " * (left + 1 + (columns - cell_len(under)) // 2) + under)
    for line in legend:
        chart.append("\n")
        chart.append(line)
    return chart


def _canvas(
    lines: list[list[list[Point]]], x_axis: _Axis, y_axis: _Axis, columns: int, rows: int
) -> Iterator[list[tuple[str, str]]]:
    """The plot's rows, each cell as (character, colour)."""
    dots = [[0] * columns for _ in range(rows)]
    owner = [[-1] * columns for _ in range(rows)]
    markers: dict[tuple[int, int], int] = {}
    for index, line in enumerate(lines):
        # Markers of different series stand in different columns, so that lines that lie on one
        # another still show all of theirs.
        offset = (3 * index + 2) % _MARKER_EVERY
        cells = []
        for part in line:
            at = [
                (
                    round(x_axis.share(x) * (2 * columns - 1)),
                    round((1 - y_axis.share(y)) * (4 * rows - 1)),
                )
                for x, y in part
            ]
            for x, y in _dots(at):
                dots[y // 4][x // 2] |= _BRAILLE_DOTS[x % 2][y % 4]
                owner[y // 4][x // 2] = index
                cells.append((y // 4, x // 2))
        chosen = {cell[1]: cell for cell in cells if cell[1] % _MARKER_EVERY == offset}
        for cell in [*chosen.values(), cells[-1]] if cells else []:
            if cell is cells[-1] and cell in markers:
                cell = next((c for c in reversed(cells) if c not in markers), cell)
            markers[cell] = index
    for row in range(rows):
        yield [
            (MARKERS[found % len(MARKERS)], _terminal_colour(found))
            if (found := markers.get((row, column), -1)) >= 0
            else (chr(_BRAILLE + bits) if bits else " ", _terminal_colour(owner[row][column]))
            for column, bits in enumerate(dots[row])
        ]


def _dots(points: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The dots of a line through `points`, without holes."""
    yield points[0]
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = max(abs(x1 - x0), abs(y1 - y0))
        for step in range(1, steps + 1):
            yield x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps)


def _terminal_x_axis(axis: _Axis, left: int, columns: int) -> str:
    ruler, labels = ["─"] * columns, ""
    for tick, label in zip(axis.ticks, axis.labels, strict=True):
        column = round(axis.share(tick) * (columns - 1))
        start = left + 1 + column - len(label) // 2
        start = min(start, left + 1 + columns - len(label))
        if start > len(labels) or not labels:
            ruler[column] = "┬"
            labels = labels.ljust(start) + label
    return f"{' ' * left}└{''.join(ruler)}\n{labels}\n"


def _terminal_legend(
    series: Sequence[Series], lines: list[list[list[Point]]], width: int
) -> list[Text]:
    legend, used = [Text(no_wrap=True)], 0
    for index, (one, line) in enumerate(zip(series, lines, strict=True)):
        name = f" {_one_line(one.name)}" + ("" if line else " (no data)")
        name = name if cell_len(name) <= width - 2 else set_cell_size(name, width - 3) + "…"
        needed = 1 + cell_len(name) + (2 if used else 0)
        if used + needed > width:
            legend.append(Text(no_wrap=True))
            used, needed = 0, 1 + cell_len(name)
        if used:
            legend[-1].append("  ")
        legend[-1].append(MARKERS[index % len(MARKERS)], _terminal_colour(index))
        legend[-1].append(name)
        used += needed
    return legend


def _terminal_colour(index: int) -> str:
    return TERMINAL_COLOURS[index % len(TERMINAL_COLOURS)] if index >= 0 else ""


def _one_line(text: str) -> str:
    """Without what breaks or reorders a line, drives a terminal, or is not allowed in XML."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+", " ", text
    )


# --- SVG -----------------------------------------------------------------------------------------

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_DIGIT = 6.8  # width in pixels allowed for a letter at 12 px
_INK, _FAINT, _GRID = "#1f2328", "#59636e", "#e4e7eb"


def svg_chart(
    series: Sequence[Series],
    title: str,
    x_label: str,
    y_label: str,
    width: int = 720,
    height: int = 420,
) -> str:
    """A chart as one SVG document: no script, no outside resource, the same text for the same data.

    Every line ends in its last value. Raises `UsageError` when there is nothing to draw or no
    room to draw it.
    """
    lines = _checked(series)
    if width < 240:
        raise UsageError(f"a chart {width} px wide is too small: give 240 or more")
    legend, legend_rows = _svg_legend(series, lines, width)
    top = 44 + 20 * legend_rows + (18 if y_label else 6)
    bottom = height - (52 if x_label else 34)
    if bottom - top < 60:
        raise UsageError(
            f"a chart {height} px high is too small: give {height + 60 - bottom + top} or more"
        )
    x_axis, y_axis = _axes(lines, max(1, min(8, width // 90)), min(_TICKS, (bottom - top) // 30))
    left = 24 + _DIGIT * max(map(len, y_axis.labels))
    ends = [_last_value(line, y_axis) for line in lines]
    right = width - 18 - _DIGIT * max(map(len, ends))

    def place(point: Point) -> Point:
        return (
            left + x_axis.share(point[0]) * (right - left),
            bottom - y_axis.share(point[1]) * (bottom - top),
        )

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="{_FONT}" font-size="12">',
        f"<title>{_xml(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(20, 28, _fit(title, width - 40, 8.6), fill=_INK, extra=' font-size="16" '
              'font-weight="600"'),
        *legend,
    ]  # fmt: skip
    for tick, label in zip(y_axis.ticks, y_axis.labels, strict=True):
        y = place((x_axis.low, tick))[1]
        out.append(_rule(left, y, right, y, _GRID))
        out.append(_text(left - 8, y + 4, label, anchor="end"))
    for tick, label in zip(x_axis.ticks, x_axis.labels, strict=True):
        x = place((tick, y_axis.low))[0]
        out.append(_rule(x, bottom, x, bottom + 5, _FAINT))
        out.append(_text(x, bottom + 19, label, anchor="middle"))
    out.append(_rule(left, bottom, right, bottom, _FAINT))
    if y_label:
        out.append(_text(20, top - 12, _fit(y_label, width - 40), fill=_FAINT))
    if x_label:
        out.append(_text((left + right) / 2, bottom + 40, _fit(x_label, right - left), "middle"))
    for index, line in enumerate(lines):
        out.extend(_svg_line(index, [[place(point) for point in part] for part in line]))
    last = {i: place(line[-1][-1]) for i, line in enumerate(lines) if line}
    spread = _spread({i: y for i, (_, y) in last.items()}, top, bottom)
    for index, y in spread.items():
        colour = SVG_COLOURS[index % len(SVG_COLOURS)]
        out.append(_text(right + 8, y + 4, ends[index], fill=colour, extra=' font-weight="600"'))
    return "\n".join([*out, "</svg>", ""])


def _svg_line(index: int, parts: list[list[Point]]) -> Iterator[str]:
    colour = SVG_COLOURS[index % len(SVG_COLOURS)]
    dashes = SVG_DASHES[index % len(SVG_DASHES)]
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    for part in parts:
        if len(part) > 1:
            path = " ".join(f"{x:.2f},{y:.2f}" for x, y in part)
            yield (
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" '
                f'stroke-linejoin="round" stroke-linecap="round"{dash}/>'
            )
    alone = [part[0] for part in parts if len(part) == 1]
    end = [parts[-1][-1]] if parts and len(parts[-1]) > 1 else []
    for x, y in alone + end:
        yield f'<circle cx="{x:.2f}" cy="{y:.2f}" r="3.5" fill="{colour}"/>'


def _svg_legend(
    series: Sequence[Series], lines: list[list[list[Point]]], width: int
) -> tuple[list[str], int]:
    """The legend under the title, and how many rows of 20 px it takes."""
    out, x, row = [], 20.0, 0
    for index, (one, line) in enumerate(zip(series, lines, strict=True)):
        name = _fit(one.name + ("" if line else " (no data)"), width - 80)
        needed = 32 + _DIGIT * cell_len(name)
        if x > 20 and x + needed > width - 20:
            x, row = 20.0, row + 1
        y = 50 + 20 * row
        colour = SVG_COLOURS[index % len(SVG_COLOURS)]
        dashes = SVG_DASHES[index % len(SVG_DASHES)]
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        out.append(_rule(x, y - 4, x + 24, y - 4, colour, f' stroke-width="2"{dash}'))
        out.append(_text(x + 32, y, name, fill=_INK))
        x += needed + 18
    return out, row + 1


def _last_value(line: list[list[Point]], axis: _Axis) -> str:
    """The last y of a line with one decimal more than the axis shows, at least 3 digits."""
    if not line:
        return ""
    value, span = line[-1][-1][1], axis.high - axis.low
    if not 1e-4 <= span < 1e6 or abs(value) >= 1e6:
        return f"{value:.3g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(span)))}f}"


def _spread(wanted: dict[int, float], top: float, bottom: float) -> dict[int, float]:
    """Heights near the wanted ones, at least one line of text apart where there is room."""
    gap = min(14.0, (bottom - top) / max(1, len(wanted) - 1))
    placed: dict[int, float] = {}
    floor = top
    for index in sorted(wanted, key=lambda i: (wanted[i], i)):
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + gap
    ceiling = bottom
    for index in reversed(placed):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed


def _fit(text: str, pixels: float, letter: float = _DIGIT) -> str:
    cells = int(pixels / letter)
    text = _one_line(text)
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1).rstrip() + "…"


def _text(
    x: float, y: float, text: str, anchor: str = "start", fill: str = _FAINT, extra: str = ""
) -> str:
    where = f'x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {where}{extra}>{_xml(text)}</text>"


def _rule(x0: float, y0: float, x1: float, y1: float, colour: str, extra: str = "") -> str:
    where = f'x1="{x0:.2f}" y1="{y0:.2f}" x2="{x1:.2f}" y2="{y1:.2f}"'
    return f'<line {where} stroke="{colour}"{extra}/>'


def _xml(text: str) -> str:
    return escape(_one_line(text))
