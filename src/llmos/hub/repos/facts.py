"""What a repository's files say of it: configuration, task, library, parameters. What comes back is
small, whatever is in the files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, select

from llmos.hub.database.tables import blobs
from llmos.hub.git import trees

SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
READ = ("config.json", "tokenizer_config.json", "adapter_config.json")

TASKS = {  # by the end of a class's name: task, class of transformers that loads it
    "ForCausalLM": ("text-generation", "AutoModelForCausalLM"),
    "LMHeadModel": ("text-generation", "AutoModelForCausalLM"),
    "ForMaskedLM": ("fill-mask", "AutoModelForMaskedLM"),
    "ForPreTraining": ("fill-mask", "AutoModelForPreTraining"),
    "ForSequenceClassification": ("text-classification", "AutoModelForSequenceClassification"),
    "ForTokenClassification": ("token-classification", "AutoModelForTokenClassification"),
    "ForQuestionAnswering": ("question-answering", "AutoModelForQuestionAnswering"),
    "ForMultipleChoice": ("multiple-choice", "AutoModelForMultipleChoice"),
    "EncoderModel": ("feature-extraction", "AutoModel"),
    "Model": ("feature-extraction", "AutoModel"),
}
SEQ2SEQ = ("text2text-generation", "AutoModelForSeq2SeqLM")
SEQ2SEQ_TYPES = frozenset(
    {"bart", "blenderbot", "fsmt", "led", "longt5", "m2m_100", "marian", "mbart", "mt5", "pegasus"}
    | {"prophetnet", "switch_transformers", "t5", "umt5"}
)


def json_object(content: bytes | None) -> dict[str, Any]:
    """The JSON object of a file; {} for anything else."""
    try:
        read = orjson.loads(content or b"{}")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def model_facts(
    connection: Connection, root: trees.Tree, contents: Mapping[str, bytes]
) -> dict[str, Any]:
    """Facts of a model whose top folder is `root`: config, library_name, pipeline_tag,
    transformersInfo, mask_token, adapter_of, safetensors, each only if known. `contents` are those
    of the files in `READ` that are there."""
    files = {name: json_object(contents.get(name)) for name in READ}
    facts = _of_config(files["config.json"])
    if files["adapter_config.json"]:
        facts["library_name"] = "peft"
        base = files["adapter_config.json"].get("base_model_name_or_path")
        facts |= {"adapter_of": base[:200]} if isinstance(base, str) else {}
    mask = files["tokenizer_config.json"].get("mask_token")
    mask = mask.get("content") if isinstance(mask, dict) else mask
    if isinstance(mask, str) and len(mask) < 50:
        facts["mask_token"] = mask
    counted = _parameters(connection, root)
    if counted:
        facts["safetensors"] = counted
    return facts


def _of_config(config: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    names = config.get("architectures")
    if isinstance(names, list):
        kept["architectures"] = [name[:100] for name in names[:10] if isinstance(name, str)]
    if isinstance(config.get("model_type"), str):
        kept["model_type"] = config["model_type"][:100]
    if not kept:
        return {}
    facts: dict[str, Any] = {"config": kept, "library_name": "transformers"}
    task = _task(kept)
    if task:
        facts["pipeline_tag"] = task[0]
        facts["transformersInfo"] = {
            "auto_model": task[1],
            "pipeline_tag": task[0],
            "processor": "AutoTokenizer",
        }
    return facts


def _task(config: dict[str, Any]) -> tuple[str, str] | None:
    name = next(iter(config.get("architectures") or []), "")
    if name.endswith("ForConditionalGeneration") and config.get("model_type") in SEQ2SEQ_TYPES:
        return SEQ2SEQ
    return next((task for ending, task in TASKS.items() if name.endswith(ending)), None)


def _parameters(connection: Connection, root: trees.Tree) -> dict[str, Any] | None:
    """{"parameters": {"F32": 1000}, "total": 1000} of model.safetensors or of all its parts; None
    when a part is not known."""
    whole = root.get("model.safetensors")
    parts = [whole] if whole else [entry for name, entry in root.items() if SHARD.fullmatch(name)]
    if not parts or len(parts) > 2000:
        return None
    keys = {entry.key for entry in parts}
    found: dict[str, dict[str, Any]] = {}
    for some in _batches(sorted(keys), 500):
        rows = connection.execute(
            select(blobs.c.sha256, blobs.c.facts).where(blobs.c.sha256.in_(some))
        )
        found |= {row.sha256: (row.facts or {}).get("safetensors") or {} for row in rows}
    counts: dict[str, int] = {}
    for entry in parts:
        part = found.get(entry.key, {}).get("parameters")
        if not isinstance(part, dict):
            return None
        for kind, number in part.items():
            counts[kind] = counts.get(kind, 0) + int(number)
    return {"parameters": counts, "total": sum(counts.values())}


def _batches(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
