"""Which weights are trained: all, all but some that are frozen, or low-rank additions (LoRA).

LoRA (Hu et al. 2021, arXiv 2106.09685) leaves a weight W as it is and trains A and B of rank r, so
that the layer computes W + alpha / r B A. The layers are peft's, put into the model itself: it
stays the transformers class that it is. Shapes: r rank, I inputs, O outputs of a layer.

Free of torch until a model is given, because `llmos verify` merges without it.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmos.errors import RecipeError
from llmos.models.arrays import Vector, to_numpy, trained
from llmos.recipe import Recipe
from llmos.recipe_keys import nearest
from llmos.storage import storage_errors, write_atomic

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

ADAPTER = "default"
"""The name that peft gives an adapter unless told otherwise."""
A, B = f".lora_A.{ADAPTER}.weight", f".lora_B.{ADAPTER}.weight"
"""Ends of the names of the two factors, (r, I) and (O, r)."""
_TASKS = {
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "ForSequenceClassification": "SEQ_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
}
"""peft's word for what a model does, by the end of its class's name."""


def adapt(model: PreTrainedModel, recipe: Recipe, whole: Collection[str] = ()) -> PreTrainedModel:
    """The same model, with just those weights trainable that the recipe says.

    `whole` names weights that are trained as they are beside low-rank additions: a new head's.
    Raises `RecipeError` where a pattern fits no weight, or nothing is left to train.
    """
    _freeze(model, recipe.training.freeze)
    if recipe.training.method == "lora":
        _add_lora(model, recipe, whole)
    if not trained(model):
        raise RecipeError(
            f"training.freeze = {list(recipe.training.freeze)} leaves nothing to train: "
            "take some of the patterns away"
        )
    return model


def _freeze(model: nn.Module, patterns: Collection[str]) -> None:
    # Tied weights can be called by each of their names.
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for pattern in patterns:
        found = [name for name in parameters if fnmatchcase(name, pattern)]
        if not found:
            raise _no_such("training.freeze", pattern, parameters, "weight")
        for name in found:
            parameters[name].requires_grad = False


def _no_such(key: str, name: str, known: Collection[str], what: str) -> RecipeError:
    like = nearest(name, known) or min(known, default="none")
    return RecipeError(
        f"{key} has {name!r}, which fits no {what} of the model: write names such as {like!r}"
    )


# Low-rank additions


def _add_lora(model: PreTrainedModel, recipe: Recipe, whole: Collection[str]) -> None:
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    section = recipe.lora
    layers = _layers(model, section.targets, whole)
    if not layers:
        raise RecipeError(
            "training.method = 'lora' finds no linear layer that is not frozen: change "
            "lora.targets or training.freeze"
        )
    name = type(model).__name__
    config = LoraConfig(
        r=section.rank,
        lora_alpha=section.alpha,  # type: ignore[arg-type]
        lora_dropout=section.dropout,
        target_modules=_short(model, layers),
        fan_in_fan_out=any(isinstance(model.get_submodule(n), Conv1D) for n in layers),
        task_type=next(
            (t for end, t in _TASKS.items() if type(model).__name__.endswith(end)), None
        ),
    )
    kept = {name for name, p in model.named_parameters() if p.requires_grad}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it minds Conv1D and nn.Linear in one model
        torch.manual_seed(recipe.seed)
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:  # such as layers of Mamba that take no additions
            reason = str(error).splitlines()[0][:200]
            raise RecipeError(
                f"training.method = 'lora' does not fit the model ({reason}): change lora.targets"
            ) from error
    for name, parameter in model.named_parameters():
        if name in kept and name in whole:
            parameter.requires_grad = True
    config.modules_to_save = sorted({n.rpartition(".")[0] for n in whole if n in kept}) or None
    config.inference_mode = True


def _layers(model: PreTrainedModel, targets: Collection[str], whole: Collection[str]) -> list[str]:
    """The names of the layers that get additions: those named, else all linear ones.

    Never the output, which is often tied to the embeddings, and of which the losses take the
    weight alone; nor what is frozen or trained whole.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)}
    output = model.get_output_embeddings()
    linear = {
        n: m for n, m in linear.items() if m is not output and f"{n}.weight" not in set(whole)
    }
    for target in targets:
        if not any(_is_called(name, target) for name in linear):
            known = {name.rpartition(".")[2] for name in linear}
            raise _no_such("lora.targets", target, known, "linear layer before the output")
    return [
        name
        for name, layer in linear.items()
        if layer.weight.requires_grad
        and (not targets or any(_is_called(name, target) for target in targets))
    ]


def _is_called(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _short(model: nn.Module, layers: Collection[str]) -> list[str]:
    """The last parts of the layers' names where these mean no other, else the whole names."""
    ends = {name.rpartition(".")[2] for name in layers}
    meant = {n for n, _ in model.named_modules() if any(_is_called(n, end) for end in ends)}
    return sorted(ends) if meant == set(layers) else sorted(layers)


def low_rank_sum(a: Vector, b: Vector, scale: float) -> Vector:
    """scale B A, (O, I) in float32: one product and one sum a rank and value, in their order.

    So it is the same bits on every machine, as all merges are.
    """
    total = np.zeros((b.shape[0], a.shape[1]), np.float32)
    for column, row in zip((b * np.float32(scale)).T, a, strict=True):
        total += column[:, None] * row[None, :]
    return total


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """A plain model, without peft, that computes what `model` does; `model` itself if it is plain.

    What the additions do not change is shared between the two.
    """
    if not hasattr(model, "peft_config"):
        return model
    from peft.tuners.lora import LoraLayer
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
    plain = copy.deepcopy(model, shared)
    for name, layer in list(plain.named_modules()):
        if not isinstance(layer, LoraLayer):
            continue
        base: Any = layer.get_base_layer()
        a: Any = layer.lora_A[ADAPTER]
        b: Any = layer.lora_B[ADAPTER]
        added = low_rank_sum(to_numpy(a.weight), to_numpy(b.weight), layer.scaling[ADAPTER])
        values = to_numpy(base.weight) + (added.T if isinstance(base, Conv1D) else added)
        base.weight = nn.Parameter(base.weight.new_tensor(values))
        parent, _, child = name.rpartition(".")
        setattr(plain.get_submodule(parent), child, base)
    del plain.peft_config
    return plain


def save_adapter(model: PreTrainedModel, folder: Path, recipe: Recipe) -> None:
    """Write what was trained as `peft.PeftModel.from_pretrained` loads it onto the recipe's base.

    After instruction the embeddings go with it, since the base may have had no role tokens: give
    it as many rows first (`resize_token_embeddings`). Raises `StorageError` when the disk is full
    or the folder cannot be written.
    """
    from safetensors.numpy import save

    parameters = trained(model)
    if recipe.objective.name == "instruction":
        tables = {id(m.weight) for m in _tables(model)}
        parameters |= {n: p for n, p in model.named_parameters() if id(p) in tables}
    arrays = {adapter_name(name): to_numpy(p) for name, p in parameters.items()}
    configs: Any = model.peft_config
    config = configs[ADAPTER].to_dict()
    config["base_model_name_or_path"] = recipe.model.base
    told = {key: sorted(v) if isinstance(v, set) else v for key, v in config.items()}
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "adapter_model.safetensors", save(arrays, {"format": "pt"}))
        text = json.dumps(told, indent=2, sort_keys=True, default=str)
        write_atomic(folder / "adapter_config.json", text.encode())


def _tables(model: PreTrainedModel) -> Iterator[Any]:
    yield model.get_input_embeddings()
    if (output := model.get_output_embeddings()) is not None:
        yield output


def adapter_name(name: str) -> str:
    """What a trained weight is called in a file of peft."""
    return "base_model.model." + name.replace(f".{ADAPTER}.", ".")
