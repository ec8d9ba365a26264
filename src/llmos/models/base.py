"""A model to go on from: any of transformers', from a folder or the local cache of a hub.

Nothing in it is drawn at random but a head that it lacks, and that from the seed. With the weights,
its configuration is enough to build it again without the folder.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM
from transformers import AutoModelForNextSentencePrediction as NextSentence
from transformers.utils.hub import cached_file

from llmos.device import default_device
from llmos.errors import ModelError
from llmos.models.families import HEADS, attention
from llmos.models.folders import lacking, model_folder, read, read_model
from llmos.models.tokenizer import tokenizer_from_bytes
from llmos.models.vocabulary import ROLES, Vocabulary
from llmos.records import JSON

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

READOUTS = ("classification", "extractive_qa")
"""Heads that read something off a network that was trained for something else."""
NEW_HEADS = (*READOUTS, "masked_lm_next_sentence")
"""Heads that a base may lack; for any other the network would begin as noise."""


@dataclass(frozen=True)
class Base:
    """A base, ready to be trained.

    model: in float32, on the default device; config: the content of a config.json; new: the
    weights of the head that reads it off (drawn from the seed where the base had none).
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    config: JSON
    new: tuple[str, ...]


def load_base(
    base: str,
    head: str = "causal_lm",
    labels: Sequence[str] = (),
    seed: int = 0,
    *,
    roles: bool = False,
) -> Base:
    """The model in the folder `base` (or of that name in a hub's cache) with this head.

    `head` is one of `HEADS`, `labels` name a classifier's outputs. With `roles` the tokenizer gets
    the role tokens that it lacks. Raises `ModelError` for whatever is not there or does not fit.
    """
    source = _source(base)
    config = _config(source, head, labels)
    tokenizer = _tokenizer(source)
    pad = Vocabulary.of(tokenizer, config.to_dict()).pad
    if head == "classification" and config.pad_token_id is None:
        config.pad_token_id = pad  # decoders look for the place where a text ends
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = pad  # as T5 has it
    options: dict[str, Any] = {"config": config, "dtype": torch.float32}
    options |= {"attn_implementation": attention()}
    if renamed := _other_prefix(config, head):
        options["key_mapping"] = renamed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, missing = read_model(HEADS[head], source, **options)
    if renamed:
        vars(model).pop("_weight_conversions", None)  # it would be saved under the old names
    random = _names(_own_class(config), config)
    if wrong := tuple(n for n in missing if head not in NEW_HEADS or _bare(model, n) in random):
        raise lacking(source, wrong)
    if roles:
        _add_roles(model, tokenizer)
    _cover(model, tokenizer)
    return Base(
        model.to(default_device()),  # type: ignore[arg-type]
        tokenizer,
        _described(model, head, source),
        _head_of(model, head, missing),
    )


def base_vocabulary(base: str, *, roles: bool = False) -> Vocabulary:
    """The vocabulary of a base, read without its weights. Raises `ModelError` as `load_base`."""
    source = _source(base)
    tokenizer = _tokenizer(source)
    if roles:
        tokenizer.add_special_tokens(list(ROLES))
    return Vocabulary.of(tokenizer, read(AutoConfig, source).to_dict())


def base_sizes(base: str, head: str) -> tuple[int, int, int]:
    """Values, blocks and width of a base under this head, read without its weights.

    Raises `ModelError` as `load_base`.
    """
    config = _config(_source(base), head, ())
    with torch.device("meta"):
        model = HEADS[head].from_config(copy.deepcopy(config))
    text = config.get_text_config()
    return model.num_parameters(), text.num_hidden_layers, text.hidden_size


def _source(base: str) -> str:
    folder = Path(base)
    if folder.is_dir():
        return str(model_folder(folder))
    try:
        AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"model.base = {base!r} is neither a folder nor a model in the local cache of a hub: "
            f"give a folder, or fetch it first with `hf download {base}`"
        ) from error
    return base


def _config(source: str, head: str, labels: Sequence[str]) -> PretrainedConfig:
    config: PretrainedConfig = read(AutoConfig, source)
    if getattr(config, "quantization_config", None):
        raise ModelError(f"{source} is quantised, so it cannot be trained: give the original model")
    kind, fits = type(config), type(config) in HEADS[head]._model_mapping
    if head == "causal_lm":
        # Encoders have such a class, too, but every token of theirs sees those behind it.
        is_decoder = getattr(config, "is_decoder", False)
        encoder = kind in AutoModelForMaskedLM._model_mapping and not is_decoder
        fits = fits and not encoder and not config.is_encoder_decoder
    elif head == "masked_lm_next_sentence":
        fits = fits and kind in NextSentence._model_mapping
    if not fits:
        raise ModelError(
            f"{source} is a {config.model_type} model, which cannot be used as {head}: choose "
            "another base, or another objective"
        )
    if labels:
        had = list((config.id2label or {}).values())
        is_classifier = (config.architectures or [""])[0].endswith("SequenceClassification")
        unnamed = [f"LABEL_{number}" for number in range(len(labels))]
        if is_classifier and had not in (list(labels), unnamed):
            raise ModelError(
                f"{source} classifies into {', '.join(had)}, not into objective.labels = "
                f"{', '.join(labels)}: take its labels in its order, or a base without a classifier"
            )
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
    elif head == "extractive_qa":
        config.num_labels = 2  # where an answer begins, and where it ends
    return config


def _tokenizer(source: str) -> Tokenizer:
    try:
        path = cached_file(source, "tokenizer.json", local_files_only=True)
    except OSError:
        path = None
    if path is None:
        raise ModelError(
            f"{source} has no tokenizer.json: save its tokenizer as a fast one, or choose another "
            "base"
        )
    tokenizer = tokenizer_from_bytes(Path(path).read_bytes(), path)
    # Some files keep the length of somebody's last batch, to which texts would be cut.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


# The weights that a base must have, and those of a head


def _class_of(kind: Any, config: PretrainedConfig) -> Any:
    found = kind._model_mapping[type(config)]
    return found[0] if isinstance(found, tuple) else found


def _own_class(config: PretrainedConfig) -> Any:
    """The class that the base was saved from, as far as it says so."""
    named = getattr(transformers, (config.architectures or [""])[0], None)
    return named or _class_of(AutoModel, config)


def _other_prefix(config: PretrainedConfig, head: str) -> dict[str, str]:
    """How weights are renamed where the head's class calls the network otherwise than the base.

    Llama and its kin: `model.` becomes `transformer.` under a head for question answering.
    """
    old = _own_class(config).base_model_prefix
    new = _class_of(HEADS[head], config).base_model_prefix
    return {} if old == new else {rf"^{old}\.": f"{new}."}


def _bare(model: nn.Module, name: str) -> str:
    """A weight's name without the prefix that a head puts before the network's own."""
    return name.removeprefix(f"{model.base_model_prefix}.")


def _names(kind: Any, config: PretrainedConfig) -> set[str]:
    """The bare names of the weights of a model of class `kind`."""
    with torch.device("meta"):
        model = kind(copy.deepcopy(config))
    return {_bare(model, name) for name in model.state_dict()}


def _head_of(model: PreTrainedModel, head: str, missing: Sequence[str]) -> tuple[str, ...]:
    """The weights of a head that reads off: what was missing, and what is not the network's."""
    names = set(missing)
    if head in READOUTS:
        network = _names(_class_of(AutoModel, model.config), model.config)
        names |= {name for name in model.state_dict() if _bare(model, name) not in network}
    return tuple(sorted(names & {name for name, _ in model.named_parameters()}))


def _described(model: PreTrainedModel, head: str, source: str) -> JSON:
    """The model's config.json. Raises `ModelError` if it does not describe the whole model."""
    values: JSON = json.loads(model.config.to_json_string(use_diff=False))
    for key in ("_name_or_path", "transformers_version", "auto_map"):
        values.pop(key, None)
    values["architectures"] = [type(model).__name__]
    kept = dict(values)
    with torch.device("meta"):
        again = HEADS[head].from_config(AutoConfig.for_model(kept.pop("model_type"), **kept))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in again.state_dict().items()}:
        raise ModelError(
            f"{source} cannot be built from its config.json alone: choose another base"
        )
    return values


# Tokens that the base did not have


def _add_roles(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Add the role tokens; each begins as the mean of the tokens that spell its name.

    Means of all tokens would make the roles the same, for good where embeddings are frozen.
    """
    lacked = [role for role in ROLES if tokenizer.token_to_id(role) is None]
    spelled = [tokenizer.encode(r.strip("<|>"), add_special_tokens=False).ids for r in lacked]
    tokenizer.add_special_tokens(lacked)
    _cover(model, tokenizer)
    for role, ids in zip(lacked, spelled, strict=True):
        for rows in _tables(model):
            with torch.no_grad():
                rows[tokenizer.token_to_id(role)] = rows[ids].mean(dim=0)


def _cover(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Give every token a row in the embeddings; new ones begin as the mean of the old ones."""
    needed = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
    old = len(_tables(model)[0])
    if needed <= old:
        return
    model.resize_token_embeddings(needed, mean_resizing=False)
    for rows in _tables(model):
        with torch.no_grad():
            rows[old:] = rows[:old].double().mean(dim=0).to(rows.dtype)


def _tables(model: PreTrainedModel) -> list[torch.Tensor]:
    """What has a row for each token: embeddings, and the output's weights and biases."""
    places = (model.get_input_embeddings(), model.get_output_embeddings())
    found = [p for place in places if place is not None for p in place.parameters(recurse=False)]
    return list({id(rows): rows for rows in found}.values())
