"""A leaderboard as one HTML file: no script, nothing loaded; on a phone each row is a card."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby

from llmos.evaluation.leaderboard import Entry, Leaderboard, Table

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --bar: #2b6cb0; }
@media (prefers-color-scheme: dark) { :root { --bar: #7fb5ea; } }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem; }
h2 { border-bottom: 1px solid var(--line); margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0 2rem; width: 100%; }
caption { font-weight: 600; padding: .25rem 0; text-align: start; }
caption small, .small { display: block; font-size: .85rem; font-weight: 400; opacity: .85; }
th, td { border-top: 1px solid var(--line); padding: .4rem .6rem; text-align: start;
  vertical-align: top; overflow-wrap: anywhere; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { background: var(--soft); overflow-wrap: normal; }
svg { height: 1rem; width: 8rem; vertical-align: middle; }
svg line { stroke: var(--bar); stroke-width: 2; } svg circle { fill: var(--bar); }
ul { margin: 0; padding-inline-start: 1.2rem; }
nav dl { display: grid; gap: .4rem 1.2rem; grid-template-columns: max-content 1fr; }
nav dt { font-weight: 600; } nav dd { margin: 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 0 1rem; list-style: none; padding: 0; }
@media (max-width: 40rem) {
  nav dl { display: block; }
  thead { position: absolute; clip-path: inset(50%); height: 1px; overflow: hidden; width: 1px; }
  tr { border: 1px solid var(--line); border-radius: .4rem; display: block; margin: .6rem 0; }
  tbody th, td { border: 0; display: flex; gap: .6rem; padding: .3rem .6rem; }
  td.number { white-space: normal; }
  tbody th::before, td::before { content: attr(data-label); flex: 0 0 6rem; font-weight: 400;
    opacity: .8; }
}
"""
_HEADS = ("Place", "Model", "Score", "Interval", "Signed by", "Read with care", "More")
_NUMBERS = ("Place", "Score", "Interval")


def page(board: Leaderboard, title: str = "Leaderboard") -> str:
    """The whole page."""
    body = [
        f"<h1>{escape(title)}</h1>",
        "<p>Every figure comes from a signed result. Models whose 95 % intervals overlap share a "
        "place: the difference may be chance.</p>",
        *_contents(board.tables),
    ]
    for (task, dataset), tables in groupby(board.tables, lambda one: (one.task, one.dataset)):
        body.append(
            f'<h2 id="{_anchor(task, dataset)}">{escape(_words(task))}: {escape(dataset)}</h2>'
        )
        body += [_table(table) for table in tables]
    if board.refused:
        lines = (f"<li>{escape(reason)}</li>" for reason in board.refused.values())
        body.append(f"<h2>Refused</h2>\n<ul>{''.join(lines)}</ul>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _contents(tables: Iterable[Table]) -> list[str]:
    parts = list(dict.fromkeys((one.task, one.dataset) for one in tables))
    if len(parts) < 2:
        return []
    rows = []
    for task, some in groupby(parts, lambda part: part[0]):
        links = " ".join(
            f'<li><a href="#{_anchor(*part)}">{escape(part[1])}</a></li>' for part in some
        )
        rows.append(f"<dt>{escape(_words(task))}</dt><dd><ul>{links}</ul></dd>")
    return [f'<nav aria-label="Contents"><dl>{"".join(rows)}</dl></nav>']


def _words(task: str) -> str:
    return task.replace("_", " ")


def _anchor(task: str, dataset: str) -> str:
    return escape(f"{task}-{dataset}".replace(" ", "-"), quote=True)


def _table(table: Table) -> str:
    better = "higher" if table.higher_is_better else "lower"
    heads = "".join(f'<th role="columnheader" scope="col">{head}</th>' for head in _HEADS)
    ends = _ends(table.entries)
    rows = "\n".join(_row(entry, ends) for entry in table.entries)
    return (
        '<table role="table">\n'
        f"<caption>{escape(table.metric)} ({better} is better), {table.n:,} items"
        f"<small>{escape(table.settings)}</small></caption>\n"
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{rows}\n</tbody>\n</table>'
    )


def _row(entry: Entry, ends: tuple[float, float]) -> str:
    marks = "".join(f"<li>{escape(mark)}</li>" for mark in entry.marks)
    cells = (
        str(entry.place),
        escape(entry.model),
        f"{entry.score.value:.4f}",
        _interval(entry, ends),
        escape(entry.signer),
        f"<ul>{marks}</ul>" if marks else "nothing found",
        _links(entry),
    )
    return f"<tr role='row'>{''.join(map(_cell, _HEADS, cells))}</tr>"


def _cell(head: str, content: str) -> str:
    # Roles, because a table shown as cards loses them in some browsers.
    tag, attributes = "td", ' role="cell"'
    if head == "Model":
        tag, attributes = "th", ' role="rowheader" scope="row"'
    elif head in _NUMBERS:
        attributes += ' class="number"'
    return f'<{tag}{attributes} data-label="{head}"><div>{content}</div></{tag}>'


def _links(entry: Entry) -> str:
    links: Mapping[str, str] = entry.links
    shown = [
        f'<a href="{escape(target, quote=True)}">{escape(name)}</a>'
        for name, target in links.items()
        if target.startswith("https://")  # a result is somebody else's text
    ]
    hashes = ", ".join(
        f"{name} <code>{escape(digest[:12])}</code>" for name, digest in entry.hashes.items()
    )
    how = f"asked by: {escape(entry.how)}; sha256: {hashes}"
    return f'{", ".join(shown)}<span class="small">{how}</span>'


def _ends(entries: Iterable[Entry]) -> tuple[float, float]:
    """From where to where the intervals of a table reach."""
    known = [x for one in entries for x in (one.score.low, one.score.high, one.score.value)]
    finite = [number for number in known if math.isfinite(number)] or [0.0]
    return min(finite), max(finite)


def _interval(entry: Entry, ends: tuple[float, float]) -> str:
    score = entry.score
    if not (math.isfinite(score.low) and math.isfinite(score.high)):
        return "not known"
    width = (ends[1] - ends[0]) or 1.0
    low, value, high = (
        f"{4 + 92 * (x - ends[0]) / width:.1f}" for x in (score.low, score.value, score.high)
    )
    drawn = (
        '<svg viewBox="0 0 100 10" aria-hidden="true">'
        f'<line x1="{low}" x2="{high}" y1="5" y2="5"/><circle cx="{value}" cy="5" r="3"/></svg>'
    )
    return f"{score.low:.4f} to {score.high:.4f} {drawn}"
