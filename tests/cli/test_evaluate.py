"""`llmos evaluate`, `compare-results` and `leaderboard`, on a folder of a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from llmos.cli.evaluate import compare_results, evaluate
from llmos.cli.leaderboard import leaderboard
from llmos.errors import LLMOSError

app = typer.Typer()
app.command()(evaluate)
app.command("compare-results")(compare_results)
app.command()(leaderboard)
SUITE = """
name: small
benchmarks:
  - name: choose
    task: choice
    data: {path: q.jsonl, format: jsonl}
    inputs: {context: "{q}"}
    choices: ["waited", "carried"]
    references: "{a}"
    metrics: [accuracy]
  - name: text
    task: perplexity
    data: {path: t.txt, format: text}
    inputs: {text: "{text}", before: "{before}"}
"""
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    data = tmp_path / "data"
    data.mkdir()
    lines = [json.dumps({"q": f"Anna {n}", "a": ("waited", "carried")[n % 2]}) for n in range(6)]
    (data / "q.jsonl").write_text("\n".join(lines))
    (data / "t.txt").write_text("Anna carried the lantern of Ben to the harbour.\n" * 60)
    (tmp_path / "small.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMOS_DATA", str(data))

    def command(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, LLMOSError):
            return 2, result.output, str(result.exception)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return command


def test_from_a_model_to_a_leaderboard(joint: Any, run: Command, tmp_path: Path) -> None:
    common = ["--suite", "small.yaml", "--key", "key.pem"]
    code, out, err = run(
        "evaluate", str(joint.folder), *common, "--out", "a.json", "--link", "paper=2401.00001"
    )
    assert code == 0, err
    assert "choose (choice, 6 items, by likelihood)" in out
    assert "bits per byte" in out
    assert "choose: 6 of 6 items" in err
    code, out, _ = run("evaluate", str(joint.folder), *common, "--out", "b.json", "--json")
    assert code == 0
    assert '"signature"' in out
    code, out, _ = run("compare-results", "a.json", "b.json")
    assert code == 0
    assert out.count("no difference established") == 3
    code, out, _ = run("compare-results", "a.json", "b.json", "--json")
    assert [one["better"] for one in json.loads(out)] == ["", "", ""]
    signer = json.loads((tmp_path / "a.json").read_text())["signer"]
    code, out, _ = run(
        "leaderboard", "a.json", "b.json", "--html", "page.html", "--signer", f"Anna={signer}"
    )
    assert code == 0
    assert "signed by Anna" in out
    assert "wrote page.html" in out
    record = (tmp_path / "b.json").read_text()
    (tmp_path / "b.json").write_text(record.replace('"seed": 0', '"seed": 1'))
    code, out, err = run("leaderboard", "a.json", "b.json", "--json")
    assert code == 1
    assert "refused: b.json" in err
    assert len(json.loads(out)["tables"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "no model"),
        (["evaluate", "a", "b"], "2 models: evaluate each"),
        (["evaluate", "nothing", "--suite", "small.yaml"], "nothing is no folder, no hub id"),
        (["evaluate", "nothing", "--suite", "other"], "no suite 'other'"),
        (["evaluate", "x", "--suite", "small.yaml", "--only", "chose"], "did you mean choose?"),
        (["evaluate", "--add", "small.yaml"], "no --out"),
        (["evaluate", "--add", "small.yaml", "--out", "x"], "is not JSON"),
        (["leaderboard", "small.yaml"], "is not JSON"),
        (["leaderboard", "x", "--signer", "Anna=1"], "the signer 'Anna=1' is none"),
        (["compare-results", "x", "y"], "x cannot be read"),
    ],
)
def test_mistakes_are_one_line(run: Command, arguments: list[str], message: str) -> None:
    code, _, error = run(*arguments, *(["--key", "k.pem"] if "evaluate" in arguments else []))
    assert code == 2
    assert message in error
    assert "\n" not in error
