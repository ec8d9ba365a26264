"""Exact match and F1 of answers, by the rules of a benchmark or by ours for all languages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmos.errors import UsageError
from llmos.metrics import cmrc2018, exact_match, squad
from llmos.metrics.bootstrap import Floats
from llmos.metrics.score import IsMean, at_least_one, mean_rows

Judge = Callable[[str, Sequence[str]], float]


def _exact(prediction: str, references: Sequence[str]) -> float:
    return exact_match.exact_match(prediction, *(references or [""]))


def _shared(prediction: str, references: Sequence[str]) -> float:
    return exact_match.f1(prediction, *(references or [""]))


RULES: dict[str, tuple[Judge, Judge]] = {
    "multilingual": (_exact, _shared),
    "squad-v1.1": (squad.exact_match, squad.f1_v1),
    "squad-v2.0": (squad.exact_match, squad.f1_v2),
    "cmrc2018": (cmrc2018.exact_match, cmrc2018.f1),
}
"""Exact match and F1 by each. No reference means no answer: "multilingual" and "squad-v2.0"."""
_UNANSWERABLE = ("multilingual", "squad-v2.0")


@dataclass(frozen=True)
class _Answers(IsMean):
    rules: str = "multilingual"

    higher_is_better = True
    bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.rules not in RULES:
            raise UsageError(f"rules {self.rules!r} are not known: take one of {', '.join(RULES)}")

    @property
    def settings(self) -> str:
        return f"rules:{self.rules}"

    def _rows(
        self, judge: Judge, predictions: Sequence[str], references: Sequence[Sequence[str]]
    ) -> Floats:
        if self.rules not in _UNANSWERABLE:
            at_least_one(f"{self.rules}'s answers", references)
        return mean_rows([judge(p, r) for p, r in zip(predictions, references, strict=True)])


class ExactMatch(_Answers):
    """The share of answers that are a reference. From 0 to 1."""

    name = "exact match"
    is_share = True

    def rows(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        return self._rows(RULES[self.rules][0], predictions, references)


class AnswerF1(_Answers):
    """The mean F1 of answers against the nearest reference. From 0 to 1."""

    name = "F1"
    is_share = False

    def rows(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        return self._rows(RULES[self.rules][1], predictions, references)
