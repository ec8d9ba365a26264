"""Two models on the same items: paired differences, and whether they could be chance. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos.errors import SignatureError, UsageError
from llmos.evaluation.parts import quantities_of
from llmos.evaluation.predictions import read_rows, rows_sha256
from llmos.metrics.bootstrap import Floats
from llmos.metrics.difference import Difference, compare_rows
from llmos.provenance.results import Result, read_result

LEVEL = 0.95


@dataclass(frozen=True)
class Compared:
    """A difference on one benchmark; p_adjusted: by Holm, over all of the comparison."""

    benchmark: str
    metric: str
    higher_is_better: bool
    difference: Difference
    p_adjusted: float

    @property
    def better(self) -> str:
        """ "a" or "b" where the difference is established, else ""."""
        if self.p_adjusted > 1 - LEVEL or self.difference.value == 0:
            return ""
        return "a" if (self.difference.value > 0) == self.higher_is_better else "b"


def compare_results(a: Path, b: Path, *, samples: int = 1000) -> list[Compared]:
    """How a and b differ in every metric of the benchmarks that both have.

    Needs the items beside both results. Raises `UsageError` where they share no benchmark on the
    same items, `SignatureError` for items that are not those of the signed result.
    """
    results = read_result(a), read_result(b)
    rows = tuple(_checked(result, path) for result, path in zip(results, (a, b), strict=True))
    others = {part["name"]: part for part in results[1].benchmarks}
    found: list[tuple[str, str, bool, Difference]] = []
    for part in results[0].benchmarks:
        name = part["name"]
        other = others.get(name)
        if other is None or _measured(part) != _measured(other):
            continue
        for key, quantity in quantities_of([part, other]).items():
            difference = compare_rows(
                quantity, rows[0][name][key], rows[1][name][key], samples=samples
            )
            found.append((name, key, quantity.higher_is_better, difference))
    if not found:
        raise UsageError(f"{a} and {b} have no benchmark on the same items: evaluate them alike")
    adjusted = holm([one[-1].p for one in found])
    return [Compared(*one, p) for one, p in zip(found, adjusted, strict=True)]


def _measured(part: Mapping[str, Any]) -> tuple[object, ...]:
    return part["spec"], part["data_sha256"]


def _checked(result: Result, path: Path) -> dict[str, dict[str, Floats]]:
    if result.body["of"]:
        raise UsageError(f"{path} was added up from members' results: compare those")
    rows = read_rows(path)
    for part in result.benchmarks:
        if rows_sha256(rows.get(part["name"], {})) != part["rows_sha256"]:
            raise SignatureError(
                f"the items beside {path} are not those that were signed ({part['name']}): restore "
                "them, or evaluate again"
            )
    return rows


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several (Holm 1979), in their order."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    found, least = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        least = max(least, min(1.0, (len(values) - rank) * values[at]))
        found[at] = least
    return found
