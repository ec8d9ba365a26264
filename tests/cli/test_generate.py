"""`llmos generate`: text from a model folder or a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Joint

Command = Callable[..., tuple[int, str, str]]


def test_a_prompt_is_continued_the_same_with_a_seed(joint: Joint, llmos: Command) -> None:
    model = str(joint.folder / "model")
    found = [llmos("generate", model, "Anna carried", "--seed", "3") for _ in range(2)]
    assert found[0] == found[1]
    code, printed, error = found[0]
    assert code == 0 and error == "" and printed.startswith("Anna carried")
    assert len(printed) > len("Anna carried") + 5
    assert llmos("generate", model, "Anna carried", "--seed", "4") != found[0]
    # The folder of the run means its model.
    assert llmos("generate", str(joint.folder), "Anna carried", "--seed", "3") == found[0]


def test_options(joint: Joint, llmos: Command) -> None:
    run = str(joint.folder)
    greedy = [llmos("generate", run, "小明把", "--temperature", "0") for _ in range(2)]
    assert greedy[0] == greedy[1] and greedy[0][1].startswith("小明把")
    one = llmos("generate", run, "x", "--max-new-tokens", "1", "--top-k", "1")
    assert one[0] == 0 and len(one[1]) < 12
    assert llmos("generate", run)[0] == 0  # a new document


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--temperature", "-1"], "temperature -1.0 is out of range"),
        (["--temperature", "nan"], "temperature nan is out of range"),
        (["--top-k", "0"], "top_k 0 is out of range"),
        (["--max-new-tokens", "0"], "max_new_tokens 0 is out of range"),
        (["word " * 500], "shorten the prompt"),
    ],
)
def test_options_out_of_range(
    joint: Joint, llmos: Command, arguments: list[str], match: str
) -> None:
    code, printed, error = llmos("generate", str(joint.folder), *arguments)
    assert (code, printed) == (2, "") and match in error and error.count("\n") == 1


def test_a_folder_without_a_model(joint: Joint, llmos: Command, tmp_path: Path) -> None:
    code, printed, error = llmos("generate", str(tmp_path), "hello")
    assert (code, printed) == (2, "") and "holds no model" in error
    run = joint.copy(tmp_path / "run")
    (run / "model" / "model.safetensors").write_bytes(b"x" * 100)
    code, printed, error = llmos("generate", str(run), "hello")
    assert (code, printed) == (2, "") and error.count("\n") == 1 and "llmos verify" in error
