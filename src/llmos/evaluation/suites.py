"""Suites: what is measured, on which data, by which metrics. YAML files, checked like recipes.

    name: mine
    about: what it is good for
    benchmarks:
      - name: tatoeba-en-zh
        task: translation
        data: {path: mt-tatoeba-zh-en/cmn.txt.gz, format: tsv, header: false, limit: 500}
        inputs: {text: "{0}", from: en, to: zh}
        references: "{1}"
        metrics: [chrf, bleu]
        language: zh

`task` is one of `llmos.tasks`, or one of `WAYS`. `{column}` in a text stands for a field of the
record; a dot goes down (`{answers.0.text}`, `{answers.*.text}` for all). Paths are within the
folder that --data names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from llmos.errors import UsageError
from llmos.evaluation.quantities import quantities
from llmos.evaluation.strict_yaml import make, nearest, parsed
from llmos.models.engines.engine import Decoding
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex
from llmos.tasks import TASKS

WAYS = ("choice", "completion", "perplexity", "programs")
"""Besides tasks: the likeliest of several choices, a plain continuation, how well a text is
predicted, programs that must pass tests."""
FORMATS = ("csv", "json", "jsonl", "lines", "squad", "text", "tsv")
OWN = Path(__file__).parent / "suites"
_DECODING = [one.name for one in fields(Decoding)]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the items are. path: one file or several; of "lines", files whose lines belong
    together. header: whether the first line of a table names its columns (else "0", "1", ...).
    records: where the list stands in JSON. where: only records with these texts in these fields.
    limit: so many items, evenly spread; 0: all.
    """

    path: str | tuple[str, ...]
    format: str
    header: bool = True
    records: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    limit: int = 0

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path


@dataclass(frozen=True, kw_only=True)
class Find:
    """Choices that stand in the item itself: all that `find`, a regular expression, finds there."""

    find: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One part of a suite.

    inputs: texts for the task's fields ("context" of a choice, "prompt" of a completion or program,
    "text" of a perplexity, and "before" it). shots: so many of the first records go before each
    item as examples and are not asked. extract: a regular expression; its last match (or its group)
    in what was written is the answer, and in the reference the right one; the characters in
    `ignore` are taken out of both. per_byte: choices are weighed by likelihood per byte, not as a
    whole (lm-eval's acc_norm). ask_in: the language of the instructions. program: what is run, with
    `{prediction}`. samples: programs written for each problem; seconds: of processor time that each
    may take.
    """

    name: str
    task: str
    data: Data
    inputs: Mapping[str, str]
    references: str | tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    dataset: str = ""
    split: str = ""
    about: str = ""
    licence: str = ""
    language: str = ""
    labels: tuple[str, ...] = ()
    rules: str = ""
    ask_in: str = ""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[str, ...] | Find = ()
    per_byte: bool = False
    extract: str = ""
    ignore: str = ""
    shots: int = 0
    program: str = ""
    samples: int = 1
    seconds: float = 10.0

    def to_json(self) -> JSON:
        """As JSON, whatever equals the default left out; `benchmark` reads it."""
        found = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if value != _default(one):
                found[one.name] = _plain(value)
        return found


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Benchmarks under one name. seed: of what is sampled, and of the intervals."""

    name: str
    benchmarks: tuple[Benchmark, ...]
    about: str = ""
    version: int = 1
    seed: int = 0

    def sha256(self) -> str:
        """What two suites that measure the same have in common."""
        parts = [one.to_json() for one in self.benchmarks]
        return sha256_hex(canonical_json({"seed": self.seed, "benchmarks": parts}))

    def only(self, names: Sequence[str]) -> Suite:
        """With some of its benchmarks. Raises `UsageError` for a name that is none of them."""
        known = [one.name for one in self.benchmarks]
        for name in names:
            if name not in known:
                raise UsageError(f"{self.name} has no benchmark {name!r}: {nearest(name, known)}")
        some = tuple(one for one in self.benchmarks if one.name in names)
        return Suite(**{**vars(self), "benchmarks": some})


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _plain(value: Any) -> Any:
    """A value as JSON has it; parts with their defaults left out."""
    if isinstance(value, Data | Find):
        plain = {one.name: _default(one) for one in fields(value)}
        return {k: _plain(v) for k, v in asdict(value).items() if v != plain[k]}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


def suites() -> list[str]:
    """The names of the suites that come with llmos."""
    return sorted(path.stem for path in OWN.glob("*.yaml"))


def load_suite(named: str) -> Suite:
    """The suite of a file, or one of our own by its name.

    Raises `UsageError` for one that is not there or not in order, naming the key.
    """
    path = Path(named)
    if not path.exists() and not path.suffix:
        path = OWN / f"{named}.yaml"
    if not path.is_file():
        raise UsageError(f"no suite {named!r}: give a YAML file, or one of {', '.join(suites())}")
    try:
        return suite(parsed(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): save it as UTF-8") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def suite(values: Any) -> Suite:
    """A suite from what YAML gave. Raises `UsageError`."""
    found: Suite = make(Suite, values, "")
    names = [one.name for one in found.benchmarks]
    if not names:
        raise UsageError("benchmarks is empty: name at least one")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two benchmarks are called {twice[0]!r}: rename one")
    for one in found.benchmarks:
        _check(one)
    return found


def benchmark(values: Any) -> Benchmark:
    """What `Benchmark.to_json` gave. Raises `UsageError`."""
    found: Benchmark = make(Benchmark, values, "")
    _check(found)
    return found


def _check(one: Benchmark) -> None:
    """What types do not tell."""
    at = f"benchmark {one.name!r}: "
    if not _NAME.fullmatch(one.name):
        raise UsageError(f"{at}use lower-case letters, digits, . _ -, at most 64")
    known = [*TASKS, *WAYS]
    if one.task not in known:
        raise UsageError(f"{at}no task {one.task!r}: {nearest(one.task, known)}")
    if one.data.format not in FORMATS:
        near = nearest(one.data.format, FORMATS)
        raise UsageError(f"{at}data.format {one.data.format!r} is not known: {near}")
    outside = [path for path in one.data.paths if Path(path).is_absolute() or ".." in path]
    if outside or not one.data.paths:
        raise UsageError(f"{at}data.path {outside}: name files within the folder of --data")
    own = {"choice": "context", "completion": "prompt", "programs": "prompt", "perplexity": "text"}
    needed = [own[one.task]] if one.task in own else []
    allowed = [one.name for one in TASKS[one.task].fields] if one.task in TASKS else [*needed]
    allowed += ["before"] if one.task == "perplexity" else []
    for name in one.inputs:
        if name not in allowed:
            raise UsageError(f"{at}inputs.{name} is not known: {nearest(name, allowed)}")
    if missing := [name for name in needed if name not in one.inputs]:
        raise UsageError(f"{at}inputs.{missing[0]} is missing: give it")
    needs = {
        "references": one.task not in ("perplexity", "programs"),
        "choices": one.task == "choice",
        "program": one.task == "programs",
    }
    for name, is_needed in needs.items():
        if is_needed != bool(getattr(one, name)):
            wrong = "is missing: give it" if is_needed else f"has no part in {one.task}: remove it"
            raise UsageError(f"{at}{name} {wrong}")
    if one.program and "{prediction}" not in one.program:
        raise UsageError(f"{at}program has no {{prediction}}: say where it stands")
    for name in ("extract", "choices"):
        value = getattr(one, name)
        pattern = value.find if isinstance(value, Find) else value if name == "extract" else ""
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"{at}{name} is no regular expression ({error}): mend it") from error
    for name in one.decoding:
        if name not in _DECODING:
            raise UsageError(f"{at}decoding.{name} is not known: {nearest(name, _DECODING)}")
    if min(one.shots, one.data.limit) < 0 or one.samples < 1 or one.seconds <= 0:
        raise UsageError(f"{at}shots and limit are 0 or more, samples and seconds above 0")
    try:
        quantities(one)
    except UsageError as error:
        raise UsageError(f"{at}{error}") from error
