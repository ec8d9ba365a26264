"""Every objective works in a joint run: trained, merged, judged, verified, resumed, published."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers

from llmos.federation import local
from llmos.federation.report import load_state
from llmos.federation.verify import verify_run
from llmos.models.families import HEADS
from llmos.models.tokenizer import tokenizer_from_bytes
from llmos.models.vocabulary import Vocabulary
from llmos.provenance.ledger import Ledger
from llmos.records import JSON
from llmos.training.objectives import OBJECTIVES, make_objective

if TYPE_CHECKING:
    from tests.conftest import Joint

NAMES = ("Anna", "Ben", "Chen", "Dana", "Emil", "Fatima", "小明", "小红")
THINGS = ("lantern", "bicycle", "letter", "violin", "basket", "竹篮子", "指南针", "小提琴")
PLACES = ("harbour", "library", "orchard", "station", "bakery", "火车站", "面包店", "菜市场")


def sentence(draw: random.Random) -> str:
    """Told once: the number makes it so."""
    days = draw.randrange(100, 1000)
    a, b, c = draw.choice(NAMES), draw.choice(THINGS), draw.choice(PLACES)
    return f"{a} carried the {b} to the {c} and waited there for {days} days."


def text(draw: random.Random) -> JSON:
    return {"text": " ".join(sentence(draw) for _ in range(4))}


def pair(draw: random.Random) -> JSON:
    source = sentence(draw)
    return {"source": source, "target": source.replace("carried", "brought").upper()}


def chat(draw: random.Random) -> JSON:
    told = sentence(draw)
    return {
        "messages": [
            {"role": "system", "content": "Answer in one word."},
            {"role": "user", "content": f"{told} Who was it?"},
            {"role": "assistant", "content": told.split()[0]},
        ]
    }


def labelled(draw: random.Random) -> JSON:
    told = sentence(draw)
    return {"text": told, "label": "long" if len(told) > 65 else "short"}


def question(draw: random.Random) -> JSON:
    told = sentence(draw)
    return {"context": told, "question": "Who was it?", "answer": told.split()[0]}


RECORDS: dict[str, Callable[[random.Random], JSON]] = {
    "text": text,
    "pair": pair,
    "chat": chat,
    "labelled": labelled,
    "question": question,
}
T5: dict[str, Any] = {"model.family": "t5", "tokenizer.vocabulary_size": 400}
SETTINGS: dict[str, dict[str, Any]] = {
    "causal_lm": {},
    "masked_lm": {"model.family": "bert"},
    "span_corruption": T5,
    "seq2seq": T5,
    "instruction": {"model.family": "llama"},
    "classification": {"model.family": "bert", "objective.labels": ["long", "short"]},
    "extractive_qa": {"model.family": "bert"},
}
BASES = {"instruction": "causal_lm", "classification": "masked_lm", "extractive_qa": "masked_lm"}
"""What is trained on top of another objective's model."""


def write(folder: Path, record: str, seed: int) -> Path:
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    rows = [json.dumps(RECORDS[record](draw), ensure_ascii=False) for _ in range(40)]
    (folder / "records.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    (folder / "card.json").write_text('{"languages": ["en", "zh"], "licence": "CC0-1.0"}')
    return folder


class Trained:
    """Joint runs by objective, each made once."""

    def __init__(self, joint: Joint, folder: Path) -> None:
        self.joint = joint
        self.folder = folder
        self._runs: dict[str, Path] = {}

    def members(self, objective: str) -> dict[str, Path]:
        record = OBJECTIVES[objective].record  # type: ignore[attr-defined]
        folder = self.folder / "texts" / record
        if not folder.exists():
            for seed, name in enumerate(self.joint.members):
                write(folder / name, record, seed)
        return {name: folder / name for name in self.joint.members}

    def start(self, objective: str, out: Path, **settings: Any) -> Path:
        values = {
            "objective.name": objective,
            "rounds.count": 2,
            "model.context_length": 64,
            "training.sequence_length": 64,
            **SETTINGS[objective],
            **settings,
        }
        recipe = self.joint.recipe.with_values(values)
        return local.train(recipe, out=out, members=self.members(objective)).folder

    def run(self, objective: str) -> Path:
        if objective not in self._runs:
            self._runs[objective] = self.start(objective, self.folder / objective)
        return self._runs[objective]


@pytest.fixture(scope="module")
def trained(joint: Joint, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(joint, tmp_path_factory.mktemp("objectives"))


def test_each_objective_is_tried() -> None:
    assert set(SETTINGS) == set(OBJECTIVES)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_is_trained_judged_verified_and_published(trained: Trained, objective: str) -> None:
    run = trained.run(objective)
    assert verify_run(run).problems == []
    state, entries = load_state(run)
    assert state.phase == "closed"
    assert state.refused == {}
    updates = [e.body["update"] for e in entries if e.kind == "update_accepted"]
    assert len(updates) == 4
    assert all(u["update_norm"] > 0 and u["tokens"] > 0 for u in updates)
    for scores in (*state.validation.values(), state.test):
        assert set(scores) == set(state.members)
        assert all(sums["nll_nats"] > 0 and sums["bytes"] > 0 for sums in scores.values())
    words = Vocabulary.of(tokenizer_from_bytes((run / "model" / "tokenizer.json").read_bytes()))
    recipe = trained.joint.recipe.with_values(
        {"objective.name": objective, "training.sequence_length": 32, **SETTINGS[objective]}
    )
    kind = HEADS[make_objective(recipe, words).head]
    model, info = kind.from_pretrained(run / "model", output_loading_info=True)
    assert not any(info.values())
    assert f"from transformers import {kind.__name__}" in (run / "model" / "README.md").read_text()
    assert transformers.AutoTokenizer.from_pretrained(run / "model").vocab_size >= words.size - 3
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stopped_it_goes_on_to_the_same_bits(
    trained: Trained, objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(BaseException):
        """What stops a run in the middle."""

    append = Ledger.append

    def stop(ledger: Ledger, kind: str, body: JSON) -> Any:
        entry = append(ledger, kind, body)
        if kind == "round_opened" and body["round"] == 2:
            raise Stop
        return entry

    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Ledger, "append", stop)
        trained.start(objective, folder)
    local.resume(folder)
    assert trained.joint.result(folder) == trained.joint.result(trained.run(objective))
    assert verify_run(folder).problems == []


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("objective", SETTINGS)
def test_it_goes_on_from_a_base(
    trained: Trained, objective: str, method: str, tmp_path: Path
) -> None:
    base = trained.run(BASES.get(objective, objective))
    settings = {
        "model.base": str(base),
        "training.method": method,
        "lora.rank": 2,
        "aggregation.strategy": "fedavg",
    }
    run = trained.start(objective, tmp_path / "run", **settings)
    assert verify_run(run).problems == []
    state, _ = load_state(run)
    names = [name for name, _ in state.layout.shapes]
    if method == "lora":
        assert any(".lora_A." in name for name in names)
        assert state.adapter
    whole = [name for name in names if ".lora_" not in name]
    if objective in ("classification", "extractive_qa") or method == "full":
        assert whole  # a new head is trained as it is
    else:
        assert not whole


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("objective", ["classification", "extractive_qa"])
def test_heads_that_read_off_fit_every_family(
    trained: Trained, objective: str, family: str, tmp_path: Path
) -> None:
    size = 400 if family == "t5" else 300
    settings = {"model.family": family, "tokenizer.vocabulary_size": size, "rounds.count": 1}
    run = trained.start(objective, tmp_path / "run", **settings)
    assert verify_run(run).problems == []
    assert load_state(run)[0].refused == {}
    kind = HEADS[objective]
    model, info = kind.from_pretrained(run / "model", output_loading_info=True)
    assert model.config.model_type == family
    assert not any(info.values())
