"""The metrics of written texts by name. To add one: a file, a line here, a test.

What measures other things than texts is not here: `perplexity`, `calibration` and `pass_at_k` take
numbers, and `diversity` has figures of many texts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature

from llmos.errors import UsageError
from llmos.metrics.answers import AnswerF1, ExactMatch
from llmos.metrics.diversity import Repetition
from llmos.metrics.labels import Accuracy, MacroF1, Matthews
from llmos.metrics.rouge import Rouge
from llmos.metrics.score import Metric
from llmos.metrics.translation import Bleu, ChrF, Ter

METRICS: dict[str, Callable[..., Metric]] = {
    "accuracy": Accuracy,
    "bleu": Bleu,
    "chrf": ChrF,
    "chrf++": partial(ChrF, words=2),
    "exact_match": ExactMatch,
    "f1": AnswerF1,
    "macro_f1": MacroF1,
    "mcc": Matthews,
    "repetition": Repetition,
    "rouge1": partial(Rouge, "1"),
    "rouge2": partial(Rouge, "2"),
    "rougeL": partial(Rouge, "L"),
    "ter": Ter,
}


def metric(
    name: str,
    *,
    language: str | None = None,
    labels: Sequence[str] | None = None,
    rules: str | None = None,
) -> Metric:
    """The metric of a name, with those of the settings that it has.

    A suite or a task gives what it knows to all its metrics: the language of the texts, the labels,
    and the rules for answers. Raises `UsageError` for a name that is none, and without labels for
    a metric that needs them.
    """
    if name not in METRICS:
        raise UsageError(f"no metric {name!r}: take one of {', '.join(METRICS)}")
    given = {"language": language, "labels": labels and tuple(labels), "rules": rules}
    has = signature(METRICS[name]).parameters
    if "labels" in has and labels is None:
        raise UsageError(f"{name} without labels: name them")
    return METRICS[name](**{k: v for k, v in given.items() if k in has and v is not None})
