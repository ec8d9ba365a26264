"""A joint run that goes on from a base: what travels, what is pinned, what is published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import peft
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmos.errors import ModelError, ProtocolError, RecipeError
from llmos.federation import local
from llmos.federation.checks import check_update
from llmos.federation.compression import CODECS
from llmos.federation.published import holds_adapter, holds_model
from llmos.federation.report import load_state, traffic
from llmos.federation.verify import verify_run
from llmos.models.arrays import Vector
from llmos.models.generate import generate
from llmos.models.lora import low_rank_sum
from llmos.provenance.ledger import Ledger
from llmos.records import JSON
from llmos.storage import sha256_file

if TYPE_CHECKING:
    from tests.conftest import Joint
    from tests.federation.conftest import Stage

Stages = Callable[..., "Stage"]
LORA: dict[str, Any] = {"training.method": "lora", "lora.rank": 2, "training.learning_rate": 0.01}
FREEZE: dict[str, Any] = {"training.freeze": ["transformer.wte.*", "transformer.h.0.attn.*"]}
METHODS: dict[str, dict[str, Any]] = {"full": {}, "lora": LORA, "frozen": FREEZE}
# Two blocks of 32: large enough that additions of rank 2 are a small part of it.
WIDE: dict[str, Any] = {"model.hidden_size": 32, "model.num_layers": 2, "rounds.count": 1}


@pytest.fixture(scope="module")
def base(joint: Joint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: its model is what others go on from."""
    return joint.train(tmp_path_factory.mktemp("base") / "run", WIDE)


@pytest.fixture(scope="module")
def runs(joint: Joint, base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each method, compared. Tests must only read them."""
    folder = tmp_path_factory.mktemp("methods")
    shared = {"model.base": str(base), "rounds.count": 2}
    return {
        name: joint.train(folder / name, {**shared, **method}, compare=True)
        for name, method in METHODS.items()
    }


def initialised(run: Path) -> JSON:
    (body,) = [e.body for e in load_state(run)[1] if e.kind == "model_initialised"]
    return body


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(torch.arange(100, 120).reshape(2, 10)).logits
    return found


@pytest.mark.parametrize("method", METHODS)
def test_it_verifies_and_resumes_and_loads_without_peft(
    runs: dict[str, Path], joint: Joint, base: Path, method: str, tmp_path: Path
) -> None:
    run = runs[method]
    assert verify_run(run).problems == []
    assert joint.result(local.resume(run).folder) == joint.result(run)
    model, info = AutoModelForCausalLM.from_pretrained(run / "model", output_loading_info=True)
    assert not any(info.values())
    before = AutoModelForCausalLM.from_pretrained(base / "model")
    assert dict(model.named_parameters()).keys() == dict(before.named_parameters()).keys()
    assert float((logits(model) - logits(before)).abs().max()) > 1e-4
    assert "".join(generate(run, "Anna", max_new_tokens=4, seed=1)) != ""
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    assert tokenizer.model_max_length == 32


def test_nothing_of_the_text_is_asked_for_and_the_bases_tokenizer_is_agreed(
    runs: dict[str, Path], base: Path
) -> None:
    for run in runs.values():
        state, _ = load_state(run)
        assert state.tokenizer_sha256 == sha256_file(base / "model" / "tokenizer.json")
        assert not (run / "exchange" / "counts").exists()


def test_only_what_is_trained_travels(runs: dict[str, Path], base: Path, joint: Joint) -> None:
    model = AutoModelForCausalLM.from_pretrained(base / "model")
    whole = model.num_parameters()
    sizes = {}
    for method, run in runs.items():
        state, entries = load_state(run)
        names = [name for name, _ in state.layout.shapes]
        sizes[method] = state.layout.size
        sent = [e.body["update"]["bytes"] for e in entries if e.kind == "update_accepted"]
        assert sent == [CODECS["int8"].size(sizes[method])] * 4
        blobs = run / "exchange" / "blobs"
        updates = [e.body["update"] for e in entries if e.kind == "update_accepted"]
        assert all((blobs / u["update_sha256"]).stat().st_size == u["bytes"] for u in updates)
        if method == "lora":
            assert all(".lora_A." in name or ".lora_B." in name for name in names)
            # Four layers of inputs and outputs 32 and 96, 32 and 32, 32 and 128, 128 and 32.
            assert sizes[method] == 2 * 2 * ((32 + 96) + (32 + 32) + 2 * (32 + 128))
            assert sum(sent) < 4 * whole / 15  # all four updates against the model in float32
        body = initialised(run)
        assert body.get("frozen_values", 0) + (0 if method == "lora" else sizes[method]) == whole
        assert ("frozen_sha256" in body) == (method != "full")
        assert traffic(joint.recipe, entries)["parameters"] == sizes[method]
    assert sizes["full"] == whole


def test_frozen_weights_are_published_as_they_were(runs: dict[str, Path], base: Path) -> None:
    before = load_file(base / "model" / "model.safetensors")
    for method, changed in (("frozen", None), ("lora", ("c_attn", "c_proj", "c_fc"))):
        after = load_file(runs[method] / "model" / "model.safetensors")
        for name, values in before.items():
            is_frozen = (
                name.startswith(("transformer.wte.", "transformer.h.0.attn."))
                if changed is None
                else not (name.endswith("weight") and name.split(".")[-2] in changed)
            )
            assert np.array_equal(after[name], values) == is_frozen, (method, name)


def test_the_adapter_alone_gives_the_published_model(runs: dict[str, Path], base: Path) -> None:
    run = runs["lora"]
    assert {path.name for path in (run / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    model = AutoModelForCausalLM.from_pretrained(base / "model")
    loaded = peft.PeftModel.from_pretrained(model, str(run / "adapter"))
    published = AutoModelForCausalLM.from_pretrained(run / "model")
    torch.testing.assert_close(logits(loaded), logits(published), rtol=1e-4, atol=1e-5)
    assert not (runs["full"] / "adapter").exists()
    state, _ = load_state(run)
    assert set(state.adapter) == {"adapter_config.json", "adapter_model.safetensors"}


def test_the_card_says_what_was_continued_and_how(runs: dict[str, Path], base: Path) -> None:
    card = (runs["lora"] / "model" / "README.md").read_text()
    assert f"base_model: {json.dumps(str(base))}" in card
    assert "(lora)" in card
    whole = AutoModelForCausalLM.from_pretrained(base / "model").num_parameters()
    assert f"A gpt2 model of {whole:,} parameters" in card
    assert "continued from" in (runs["full"] / "model" / "README.md").read_text()


def test_the_columns_start_from_the_base(runs: dict[str, Path]) -> None:
    for run in runs.values():
        comparison = json.loads((run / "comparison.json").read_bytes())
        found = [json.loads(p.read_bytes()) for p in sorted((run / "compare").glob("alone-*"))]
        state, _ = load_state(run)
        for member, record in zip(("anna", "ben"), found, strict=True):
            sums = state.validation[0][member]
            first = sums["nll_nats"] / np.log(2) / sums["bytes"]
            assert record["curve"][0] == [0, pytest.approx(first)]
            # Training on from there helps, so the columns did train something.
            assert comparison["columns"]["alone"][member]["validation_bits_per_byte"] < first
        assert set(comparison["columns"]) == {"alone", "together", "together_own", "pooled"}


def test_a_new_models_ledger_is_as_it_always_was(joint: Joint) -> None:
    assert set(initialised(joint.folder)) == {"layout", "weights_sha256", "parameters", "seed"}
    state, _ = load_state(joint.folder)
    assert (state.config_sha256, state.frozen_sha256, state.frozen_values) == ("", "", 0)
    assert state.adapter == {}


def test_a_new_model_may_be_frozen_in_part_too(joint: Joint, tmp_path: Path) -> None:
    freeze = {"training.freeze": ["transformer.wpe.*"], "rounds.count": 1}
    run = joint.train(tmp_path / "run", freeze)
    assert verify_run(run).problems == []
    body = initialised(run)
    assert body["frozen_values"] == 32 * 16
    assert "config_sha256" not in body


# Members need no folder of the base


def test_the_base_is_needed_until_the_first_weights_are_pinned_only(
    stage: Stages, base: Path, tmp_path: Path
) -> None:
    shutil.copytree(base / "model", tmp_path / "base")
    made = stage({"model.base": str(tmp_path / "base"), **LORA, "rounds.count": 1})
    made.until(lambda: made.coordinator.state.phase == "training")
    shutil.rmtree(tmp_path / "base")
    made.close()
    assert verify_run(made.folder).problems == []


def test_a_base_that_changed_meanwhile_is_noticed(
    stage: Stages, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(base / "model", tmp_path / "base")
    made = stage({"model.base": str(tmp_path / "base")})
    made.until(lambda: made.coordinator.state.phase == "counting")
    append = Ledger.append

    class Stop(BaseException):
        """What stops a run in the middle."""

    def stop(ledger: Ledger, kind: str, body: JSON) -> Any:
        if kind == "model_initialised":
            raise Stop
        return append(ledger, kind, body)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Ledger, "append", stop)
        made.coordinator.step()
    path = tmp_path / "base" / "tokenizer.json"
    text = path.read_text()
    path.write_text(text.replace('"<|pad|>"', '"<|PAD|>"'))
    with pytest.raises(ProtocolError, match="has changed since the run was opened: restore it"):
        made.coordinator.step()
    path.write_text(text)
    made.coordinator.step()
    assert made.coordinator.state.phase == "training"
    assert len(made.kinds("tokenizer_agreed")) == 1


# What is found out before anything is written, or taken back


@pytest.mark.parametrize(
    ("settings", "error", "reason"),
    [
        ({"model.base": "nobody/nothing"}, ModelError, "is neither a folder nor a model"),
        (
            {"objective.name": "masked_lm", "model.base": "BASE"},
            ModelError,
            "the tokenizer has no separator token",
        ),
        (
            {"training.sequence_length": 64, "model.context_length": 64, "model.base": "BASE"},
            RecipeError,
            r"sequence_length = 64 is longer than what the base can look at \(32 tokens\)",
        ),
        ({**FREEZE, "training.freeze": ["x.*"], "model.base": "BASE"}, RecipeError, "fits no wei"),
    ],
)
def test_a_base_that_does_not_fit_leaves_no_run(
    joint: Joint,
    base: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    error: type[Exception],
    reason: str,
) -> None:
    changed = {k: str(base) if v == "BASE" else v for k, v in settings.items()}
    with pytest.raises(error, match=reason):
        joint.train(tmp_path / "run", changed)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("[!.]*"))


def test_the_disk_needed_follows_what_travels(joint: Joint, base: Path) -> None:
    def needed(**changes: Any) -> int:
        return local._bytes_needed(joint.recipe.with_values({**WIDE, **changes}), 2)

    new, full = needed(), needed(**{"model.base": str(base)})
    lora = needed(**{"model.base": str(base), "training.method": "lora", "lora.rank": 1})
    assert lora < full < new < 2 * full
    t5 = needed(**{"model.family": "t5", "objective.name": "seq2seq"})
    assert t5 > 1.5 * new


def test_an_encoder_decoder_may_count_source_and_target(in_round_2: Stage, joint: Joint) -> None:
    signed = json.loads(in_round_2.exchange.get("updates/00002/ben") or b"{}")
    state = in_round_2.coordinator.state
    most = joint.recipe.rounds.local_steps * 2 * 32
    for objective, family, factor in (("causal_lm", "gpt2", 1), ("seq2seq", "t5", 2)):
        recipe = joint.recipe.with_values({"objective.name": objective, "model.family": family})
        check_update({**signed, "tokens": factor * most}, state, recipe)
        with pytest.raises(ProtocolError, match=f"not a number from 1 to {factor * most}"):
            check_update({**signed, "tokens": factor * most + 1}, state, recipe)


# What verify sees


def test_files_of_the_adapter_are_checked(runs: dict[str, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs["lora"], tmp_path / "run"))
    path = run / "adapter" / "adapter_config.json"
    path.write_bytes(path.read_bytes() + b" ")
    (run / "adapter" / "more.txt").write_text("x")
    (run / "adapter" / "adapter_model.safetensors").unlink()
    problems = verify_run(run).problems
    assert (
        "adapter/adapter_config.json was changed: its sha256 is not the one in the ledger"
        in problems
    )
    assert "adapter/more.txt is not in the ledger" in problems
    assert "adapter/adapter_model.safetensors is missing" in problems


@pytest.mark.parametrize("part", ["frozen_sha256", "config_sha256"])
def test_a_missing_blob_of_the_base_is_found(
    runs: dict[str, Path], tmp_path: Path, part: str
) -> None:
    run = Path(shutil.copytree(runs["frozen"], tmp_path / "run"))
    digest = initialised(run)[part]
    (run / "exchange" / "blobs" / digest).unlink()
    assert any(f"blobs/{digest} is missing" in p for p in verify_run(run).problems)


@pytest.mark.parametrize("name", ["model", "adapter"])
def test_other_weights_than_the_selected_ones_are_found(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = Path(shutil.copytree(runs["lora"], tmp_path / "run"))
    file = {"model": "model.safetensors", "adapter": "adapter_model.safetensors"}[name]
    arrays = load_file(run / name / file)
    changed = sorted(arrays)[0]
    arrays[changed] = np.nextafter(arrays[changed], np.float32(9))
    save_file(arrays, run / name / file, {"format": "pt"})
    problems = verify_run(run).problems
    assert any(p.startswith(f"{name}/{file} does not hold the weights of round") for p in problems)


def test_every_value_published_is_compared() -> None:
    draw = np.random.default_rng(3)

    def some(*shape: int) -> Vector:
        return draw.standard_normal(shape).astype(np.float32)

    a, b = some(2, 4), some(4, 2)
    weights = {
        "h.fc.lora_A.default.weight": a,
        "h.fc.lora_B.default.weight": b,
        "score.weight": some(3),
    }
    before = {"h.fc.weight": some(4, 4), "h.norm.weight": some(4)}
    frozen = np.concatenate([before[n].ravel() for n in sorted(before)])
    added = low_rank_sum(a, b, 1.5)
    for turned in (added, added.T):  # GPT-2's layers and all others
        model = {**before, "score.weight": weights["score.weight"]}
        model["h.fc.weight"] = before["h.fc.weight"] + turned
        assert holds_model(model, weights, frozen, 1.5)
        assert not holds_model(model, weights, frozen, 1.25)
        assert not holds_model(model, weights, frozen[1:], 1.5)
        assert not holds_model({**model, "more": some(1)}, weights, frozen, 1.5)
        assert not holds_model(
            {**model, "h.fc.weight": before["h.fc.weight"]}, weights, frozen, 1.5
        )
        for name in model:
            other = {**model, name: np.nextafter(model[name], np.float32(9))}
            assert not holds_model(other, weights, frozen, 1.5), name
            assert not holds_model(
                {n: v for n, v in model.items() if n != name}, weights, frozen, 1.5
            )
    adapter = {
        "base_model.model.h.fc.lora_A.weight": a,
        "base_model.model.h.fc.lora_B.weight": b,
        "base_model.model.score.weight": weights["score.weight"],
    }
    assert holds_adapter(adapter, weights, frozen, model)
    norm = "base_model.model.h.norm.weight"
    assert holds_adapter({**adapter, norm: before["h.norm.weight"]}, weights, frozen, model)
    assert not holds_adapter({**adapter, norm: some(4)}, weights, frozen, model)
    assert not holds_adapter({**adapter, "more": some(4)}, weights, frozen, model)
    for name in adapter:
        other = {**adapter, name: np.nextafter(adapter[name], np.float32(9))}
        assert not holds_adapter(other, weights, frozen, model), name


def test_stopped_in_the_middle_it_goes_on_to_the_same_bits(
    runs: dict[str, Path],
    joint: Joint,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stop(BaseException):
        """What stops a run in the middle."""

    append = Ledger.append
    for number, at in enumerate(("tokenizer_agreed", "merged")):
        done = False

        def stop(ledger: Ledger, kind: str, body: JSON, at: str = at) -> Any:
            nonlocal done
            entry = append(ledger, kind, body)
            if kind == at and not done:
                done = True
                raise Stop
            return entry

        folder = tmp_path / f"stopped-{number}"
        with monkeypatch.context() as patch, pytest.raises(Stop):
            patch.setattr(Ledger, "append", stop)
            settings = {"model.base": str(base), "rounds.count": 2, **LORA}
            joint.train(folder, settings, compare=True)
        local.resume(folder)
        assert joint.result(folder) == joint.result(runs["lora"]), at
        assert verify_run(folder).problems == []
        adapter = "adapter/adapter_model.safetensors"
        assert sha256_file(folder / adapter) == sha256_file(runs["lora"] / adapter)


@pytest.mark.slow
def test_members_in_processes_of_their_own_give_the_same_bits(
    runs: dict[str, Path], joint: Joint, base: Path, tmp_path: Path
) -> None:
    settings = {"model.base": str(base), "rounds.count": 2, **LORA}
    run = joint.train(tmp_path / "run", settings, compare=True, processes=True)
    assert joint.result(run) == joint.result(runs["lora"])
