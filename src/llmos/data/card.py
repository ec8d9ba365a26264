"""The data card: all that a member need share of its text. No sentence of the text is in it.

`card.json` is for programs (and what `llmos train` reads of a prepared folder), `card.md` says the
same to people. The hash of the card goes into the ledger of a run, within what a member says of its
data. The headings follow Gebru et al., "Datasheets for Datasets" (arXiv 1803.09010), as far as a
program can know them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmos.data.tally import Tally
from llmos.errors import DataError
from llmos.provenance.cards import cell
from llmos.provenance.licences import all_licences
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex, write_atomic

KIND = "llmos/data-card"
VERSION = 1
CARD_JSON = "card.json"
CARD_MARKDOWN = "card.md"
LEAST_SHARE = 0.01
"""Share of the bytes from which on a language counts as one of the text's."""
UNKNOWN = ("", "und")


def kept_values(tally: Tally, files: Sequence[JSON]) -> JSON:
    """The part of a card that tells of the documents that are there."""
    sums: dict[str, Counter[str]] = {"source": Counter(), "language": Counter()}
    total: Counter[str] = Counter()
    for key, count in tally.kept.items():
        unit, source, language = key.split("\t")
        total[unit] += count
        sums["source"][f"{unit}\t{source}"] += count
        sums["language"][f"{unit}\t{language}"] += count
    by_language = _table(sums["language"])
    size = max(1, total["bytes"])
    return {
        "languages": sorted(
            code
            for code, counts in by_language.items()
            if code not in UNKNOWN and counts["bytes"] >= LEAST_SHARE * size
        ),
        "licence": all_licences(tally.licences),
        "licences": dict(sorted(tally.licences.items())),
        "kept": {unit: total[unit] for unit in ("documents", "bytes", "characters")},
        "by_language": by_language,
        "by_source": _table(sums["source"]),
        "bytes_of_documents": {
            f"below {2 ** int(bits)}": count
            for bits, count in sorted(tally.lengths.items(), key=lambda item: int(item[0]))
        },
        "files": list(files),
        "content_sha256": sha256_hex(canonical_json([file["sha256"] for file in files])),
    }


def _table(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Counts of "unit<tab>name" as name to unit to count."""
    table: dict[str, dict[str, int]] = {}
    for key, count in sorted(counts.items()):
        unit, name = key.split("\t")
        table.setdefault(name, {})[unit] = count
    return table


def card_sha256(card: JSON) -> str:
    """What stands for the card in a ledger."""
    return sha256_hex(canonical_json(card))


def write_card(folder: Path, card: JSON) -> str:
    """Write both forms of the card; its hash."""
    # The Markdown first: whoever finds card.json finds a folder that is complete.
    write_atomic(folder / CARD_MARKDOWN, render_card(card).encode())
    text = json.dumps(card, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    write_atomic(folder / CARD_JSON, text.encode())
    return card_sha256(card)


def data_card(folder: Path) -> JSON | None:
    """The data card of a folder; None where it has none, or a card of another kind."""
    path = folder / CARD_JSON
    if not path.is_file() or f'"{KIND}"'.encode() not in path.read_bytes():
        return None
    return read_card(folder)


def read_card(folder: Path) -> JSON:
    """The data card of a prepared folder. Raises `DataError` where there is none."""
    path = folder / CARD_JSON
    try:
        card = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} has no {CARD_JSON}: prepare it with `llmos data prepare SOURCE --out DIR`"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}): prepare the text again") from error
    if not isinstance(card, dict) or card.get("kind") != KIND:
        raise DataError(
            f"{path} is not a data card: prepare the text with `llmos data prepare SOURCE "
            "--out DIR`"
        )
    if card.get("version") != VERSION:
        raise DataError(
            f"{path} is a card of version {card.get('version')!r}, this llmos knows {VERSION}: "
            "upgrade llmos"
        )
    return card


def render_card(card: JSON) -> str:
    """The card as Markdown."""
    parts = [
        f"# Data card: {cell(card['name'])}\n",
        _summary(card),
        _section("Languages", _by_group(card["by_language"], "language", card["kept"]["bytes"])),
        _section("Sources", _sources(card)),
        _section("Licences", _counts(card["licences"], "licence", "documents", "none stated")),
        _section("Dropped", _dropped(card)),
        _section("Changed", _counts(card["changed"], "what was done", "times")),
        _section("Duplicates", _duplicates(card["duplicates"])),
        _section("Evaluation sets", _contamination(card["contamination"])),
        _section("Protected text", _protected(card["protected"])),
        _section("Opted out afterwards", _counts(card.get("optouts", {}), "list", "documents")),
        _section("Length of documents", _counts(card["bytes_of_documents"], "bytes", "documents")),
        _section("How it was made", _made(card)),
        _section("Files", _files(card["files"])),
    ]
    return "\n".join(part for part in parts if part)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}\n" if body else ""


def _rows(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join(["---", *["---:"] * (len(head) - 1)]) + "|")
    for row in rows:
        cells = [f"{one:,}" if isinstance(one, int) else cell(str(one)) for one in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _summary(card: JSON) -> str:
    kept, read = card["kept"], card["read"]
    lines = [
        f"- {kept['documents']:,} documents kept of {read['documents']:,} read "
        f"({_share(kept['documents'], read['documents'])}); {_megabytes(kept['bytes'])} of "
        f"{_megabytes(read['bytes'])}",
        f"- languages: {', '.join(card['languages']) or 'not known'}",
        f"- licence: {cell(card['licence']) or 'not stated'}",
        f"- synthetic: {'yes' if card['synthetic'] else 'no'}",
        f"- sha256 of the content: `{card['content_sha256']}`",
    ]
    if tokens := card.get("tokens"):
        lines.append(
            f"- {tokens['tokens']:,} tokens of the tokenizer `{tokens['tokenizer_sha256'][:16]}…`"
        )
    if card["problems"]:
        lines.append(
            f"- {sum(card['problems'].values()):,} files or records could not be read; the list "
            "stays with the text (problems.jsonl)"
        )
    return "\n".join([*lines, ""])


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"


def _by_group(table: Mapping[str, Mapping[str, int]], name: str, total: int) -> str:
    rows = sorted(table.items(), key=lambda item: (-item[1]["bytes"], item[0]))
    return _rows(
        (name, "documents", "bytes", "characters", "share of bytes"),
        (
            (
                key or "not known",
                counts["documents"],
                counts["bytes"],
                counts["characters"],
                _share(counts["bytes"], total),
            )
            for key, counts in rows
        ),
    )


def _sources(card: JSON) -> str:
    kept = card["by_source"]
    nothing = {"documents": 0, "bytes": 0}
    return _rows(
        ("source", "documents read", "bytes read", "documents kept", "bytes kept"),
        (
            (
                name,
                read["documents"],
                read["bytes"],
                kept.get(name, nothing)["documents"],
                kept.get(name, nothing)["bytes"],
            )
            for name, read in card["sources"].items()
        ),
    )


def _counts(counts: Mapping[str, int], name: str, unit: str, empty: str = "") -> str:
    if not counts:
        return ""
    return _rows((name, unit), ((key or empty, count) for key, count in counts.items()))


def _dropped(card: JSON) -> str:
    read = card["read"]["documents"]
    rows = sorted(card["dropped"].items(), key=lambda item: (-item[1], item[0]))
    if not rows:
        return "None."
    return _rows(
        ("reason", "documents", "share of those read"),
        ((reason, count, _share(count, read)) for reason, count in rows),
    )


def _duplicates(found: Mapping[str, Any]) -> str:
    words = "Exact repeats are dropped; the first document stays."
    if found["near_duplicates"]:
        words += " Near-duplicates too (MinHash)."
    if found["line_documents"]:
        words += (
            f" A line in {found['line_documents']} or more documents stands only in the first of "
            "them."
        )
    return words + f" Share of the cleaned documents: {found['rate']:.2%}."


def _contamination(sets: Sequence[Mapping[str, Any]]) -> str:
    if not sets:
        return "The text was compared with no evaluation set."
    return _rows(
        ("evaluation set", "documents dropped", "sha256"),
        ((one["name"], one["documents"], one["sha256"][:16] + "…") for one in sets),
    )


def _protected(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    return (
        f"{found['patterns']} patterns of the member's own (file `{found['sha256'][:16]}…`): "
        f"{found['dropped']:,} documents dropped; a search of what was written found "
        f"{found['left']} matches."
    )


def _made(card: JSON) -> str:
    made = card["made"]
    lines = [f"- llmos {made['llmos']}"]
    if made["recipe_sha256"]:
        lines.append(f"- recipe `{made['recipe_sha256']}`")
    lines += [f"- {name} = {json.dumps(value)}" for name, value in made["rules"].items()]
    return "\n".join(lines)


def _files(files: Sequence[Mapping[str, Any]]) -> str:
    return _rows(
        ("file", "documents", "bytes", "sha256 of the lines"),
        ((f["name"], f["documents"], f["bytes"], f["sha256"]) for f in files),
    )
