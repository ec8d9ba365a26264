"""`llmos serve` and `llmos detect`: what is refused, and what they say."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from llmos.cli import serve as commands
from llmos.errors import LLMOSError, ModelError, UsageError
from llmos.models.engines.engine import Decoding, Request
from llmos.models.engines.transformers_engine import TransformersEngine
from llmos.serving.fingerprints import fingerprint

app = typer.Typer()
app.command()(commands.serve)
app.command()(commands.detect)


def refused(*arguments: str) -> LLMOSError:
    error = CliRunner().invoke(app, [*arguments]).exception
    assert isinstance(error, LLMOSError)
    return error


def test_folders_that_hold_no_whole_model(folder_of: Callable[..., Path], tmp_path: Path) -> None:
    whole = folder_of("gpt2")
    assert isinstance(refused("serve", str(tmp_path)), ModelError)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        copy = tmp_path / name
        shutil.copytree(whole, copy)
        (copy / name).unlink()
        assert isinstance(refused("serve", str(copy)), ModelError)


def test_a_pickle_is_not_read(folder_of: Callable[..., Path], tmp_path: Path) -> None:
    import torch

    copy = tmp_path / "model"
    shutil.copytree(folder_of("gpt2"), copy)
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    assert isinstance(refused("serve", str(copy)), ModelError)


def test_settings_that_do_not_fit(folder_of: Callable[..., Path], tmp_path: Path) -> None:
    model, keys = str(folder_of("gpt2")), tmp_path / "keys"
    keys.write_text("# none\n\n")
    for arguments, words in (
        ((model, "--precision", "int4"), "int4"),
        ((model, "--api-keys", str(keys)), "holds no key"),
        ((model, "--api-keys", str(tmp_path / "absent")), "cannot be read"),
        ((f"a={model}", f"a={model}"), "two models are called a"),
    ):
        error = refused("serve", *arguments)
        assert isinstance(error, UsageError) and words in str(error)


def test_a_taken_port_is_told_before_a_model_is_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        error = refused("serve", "/nonexistent", "--port", port)
    assert isinstance(error, UsageError) and f"127.0.0.1:{port}" in str(error)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("story=runs/x", ("story", "runs/x")),
        ("runs/a=b/model", ("a=b", "runs/a=b/model")),
        ("runs/x", ("x", "runs/x")),
    ],
)
def test_names(model: str, expected: tuple[str, str]) -> None:
    assert commands._named(model) == expected


def test_detect(folder_of: Callable[..., Path], engine_of: Callable[..., Any]) -> None:
    engine: TransformersEngine = engine_of("gpt2")
    options: dict[str, Any] = {"max_new_tokens": 100, "temperature": 1.5, "seed": 2}
    marked, plain = engine.write(
        [
            Request(prompt="the", decoding=Decoding(**options, watermark=is_marked))
            for is_marked in (True, False)
        ]
    )
    model = ["--model", str(folder_of("gpt2"))]
    found = CliRunner().invoke(app, ["detect", "-", *model], input=marked.text)
    assert found.exit_code == 0 and "watermark found: z = " in found.output
    found = CliRunner().invoke(app, ["detect", *model, "--", plain.text])
    assert found.exit_code == 1 and "no watermark found" in found.output
    found = CliRunner().invoke(
        app, ["detect", "-"], input=marked.text, env={"LLMOS_MODEL": model[1]}
    )
    assert found.exit_code == 0


def test_a_fingerprint_tells_models_of_one_name_apart(
    folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    @dataclass
    class Engine:
        folder: Any = None
        name: str = "story"
        base: Any = None
        identity: str = ""

    copy = tmp_path / "model"
    shutil.copytree(folder_of("gpt2"), copy)
    told = [fingerprint(Engine(copy)), fingerprint(Engine(copy))]  # type: ignore[arg-type]
    (copy / "config.json").write_text("{}")
    for other in (Engine(copy), Engine(copy, base=Engine(copy)), Engine(identity="x"), Engine()):
        told.append(fingerprint(other))  # type: ignore[arg-type]
    assert told[0] == told[1] and len(set(told)) == 5
