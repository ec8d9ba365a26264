"""A tiny joint run, made once and shared by the tests of the federation and of the commands."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import llmos as package
from llmos.cli import main as cli
from llmos.cli.generate import quiet_transformers
from llmos.provenance.ledger import Ledger
from llmos.recipe import Recipe
from llmos.storage import sha256_file

quiet_transformers()  # read when transformers is imported, so before the test modules

SETTINGS: dict[str, Any] = {
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.hidden_size": 16,
    "model.context_length": 32,
    "tokenizer.vocabulary_size": 300,
    "tokenizer.threshold": 3,
    "training.sequence_length": 32,
    "training.batch_size": 2,
    "training.threads": 1,
    "training.warmup_steps": 2,
    "training.precision": "fp32",
    "rounds.count": 3,
    "rounds.local_steps": 2,
    "data.validation": 0.2,
    "data.test": 0.2,
    "evaluation.bootstrap_samples": 50,
}
NAMES = ("Anna", "Ben", "Chen", "Dana", "Emil", "Fatima", "Goran", "Hana")
THINGS = ("lantern", "bicycle", "letter", "violin", "basket", "compass", "blanket", "teapot")
PLACES = ("harbour", "library", "orchard", "station", "mountain", "bakery", "island", "market")
人 = ("小明", "小红", "老王", "阿梅", "大伟", "丽丽", "志强", "春花")
物 = ("红色的灯笼", "旧自行车", "长长的信", "小提琴", "竹篮子", "指南针", "厚毛毯", "白茶壶")
地 = ("海边的码头", "城里的图书馆", "山下的果园", "火车站", "雪山", "面包店", "小岛上", "菜市场")


def write_texts(folder: Path, seed: int, documents: int = 16) -> None:
    """English and Chinese documents of a few sentences, each sentence told once."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    for number in range(documents):
        lines = []
        for _ in range(4):
            a, b, c, d = (draw.randrange(8) for _ in range(4))
            days = draw.randrange(100, 1000)
            lines.append(
                f"{NAMES[a]} carried the {THINGS[b]} of {NAMES[c]} to the {PLACES[d]} and waited "
                f"there for {days} days."
            )
            lines.append(f"{人[a]}把{人[c]}的{物[b]}带到了{地[d]}，在那里等了{days}天。")
        (folder / f"{number:02d}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "card.json").write_text('{"languages": ["en", "zh"], "licence": "CC0-1.0"}')


@dataclass(frozen=True)
class Joint:
    """A recipe, two members' texts, and a finished run of them, which tests must only read."""

    recipe: Recipe
    recipe_file: Path
    members: dict[str, Path]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def train(self, out: Path, settings: Mapping[str, Any] | None = None, **options: Any) -> Path:
        """A run of the recipe with some `settings` changed."""
        from llmos.federation.local import train

        recipe = self.recipe.with_values(settings or {})
        return train(recipe, out=out, members=self.members, **options).folder

    def copy(self, to: Path) -> Path:
        """A copy of the finished run that a test may damage."""
        return Path(shutil.copytree(self.folder, to))

    def arguments(self, out: Path, *more: str) -> list[str]:
        """The command line that trains the recipe."""
        members = [f"--member={name}={path}" for name, path in self.members.items()]
        return ["train", str(self.recipe_file), "--out", str(out), *members, *more]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """`llmos ARGUMENTS` as a process of its own."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(
            [sys.executable, "-m", "llmos.cli.main", *arguments],
            text=True,
            env={**os.environ, **self.environment},
            **options,
        )

    def result(self, folder: Path) -> dict[str, str]:
        """What must be the same bits: all merged weights, the model, the comparison."""
        found = {}
        for entry in Ledger.open(folder / "ledger.jsonl").entries:
            if entry.kind in ("model_initialised", "merged"):
                found[f"round {entry.body.get('round', 0)}"] = entry.body["weights_sha256"]
        for name in ("model/model.safetensors", "model/tokenizer.json", "comparison.json"):
            if (folder / name).exists():
                found[name] = sha256_file(folder / name)
        return found


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Wait until `condition` holds or `process` has ended; whether it holds."""
    while not condition() and process.poll() is None:
        time.sleep(0.005)
    return condition()


@pytest.fixture(scope="session")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Joint:
    """The tiny run, with its comparison."""
    folder = tmp_path_factory.mktemp("joint")
    members = {"anna": folder / "texts" / "anna", "ben": folder / "texts" / "ben"}
    for seed, path in enumerate(members.values()):
        write_texts(path, seed)
    recipe = Recipe(name="tiny").with_values(SETTINGS)
    recipe_file = folder / "tiny.toml"
    recipe_file.write_text(recipe.to_toml())
    source = str(Path(package.__file__).parent.parent)
    made = Joint(recipe, recipe_file, members, folder / "run", {"PYTHONPATH": source})
    made.train(made.folder, compare=True)
    return made


@pytest.fixture
def llmos(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`llmos("verify", "runs/x")` in this process: exit code, stdout, stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["llmos", *arguments])
        monkeypatch.setenv("COLUMNS", "160")
        capsys.readouterr()
        code: Any = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
        out, err = capsys.readouterr()
        return int(code or 0), out, err

    return command


@contextmanager
def _over_http(app: Any) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def over_http() -> Callable[[Any], AbstractContextManager[str]]:
    """Serves an application to real clients: `with over_http(app) as address`."""
    return _over_http
