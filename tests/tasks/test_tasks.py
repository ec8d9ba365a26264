"""What holds for every task."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from llmos import tasks
from llmos.errors import UsageError
from llmos.models.engines.engine import UnsupportedError
from llmos.tasks import COMMANDS, TASKS
from llmos.tasks.conventions import fill
from llmos.tasks.languages import NAMES, WORDS, name_of
from llmos.tasks.runner import Runner
from llmos.tasks.running import run, stream
from llmos.tasks.task import Options, Task

EACH = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))


@EACH
def test_words_in_every_language_fill_with_the_tasks_fields(task: Task, scripted: Any) -> None:
    assert set(task.chat) == set(NAMES) == set(WORDS)
    for language in NAMES:
        runner = Runner(task, scripted(), Options(language=language))
        values = runner.values(task.complete(task.example.inputs))
        for template in (task.chat[language], task.prompt, task.source, *task.prompt_stop):
            said = fill(template, values)
            assert "{" not in said
        assert task.example.inputs[task.main.name] in fill(task.chat[language], values)


@EACH
def test_the_example_runs_and_its_output_is_parsed_to_itself(task: Task, scripted: Any) -> None:
    engine = scripted(lambda asked: task.example.output)
    (result,) = run(task, engine, [task.example.inputs])
    assert result.text == task.example.output and result.how == "chat" and result.windows == 1
    pieces, found = [], stream(task, engine, task.example.inputs)
    try:
        while True:
            pieces.append(next(found))
    except StopIteration as end:
        assert end.value.text == "".join(pieces).strip() == result.text
    assert result.to_json()["text"] == result.text


@EACH
def test_a_model_that_was_made_for_no_chats_gets_a_prompt(task: Task, scripted: Any) -> None:
    engine = scripted(lambda asked: task.example.output, can_chat=False, has_logprobs=False)
    (result,) = run(task, engine, [task.example.inputs])
    assert result.how == "prompt" and result.text == task.example.output
    assert all(not request.messages for call in engine.calls for request in call)


@EACH
def test_the_metrics_exist(task: Task) -> None:
    from llmos.metrics.names import METRICS

    assert task.metrics and set(task.metrics) <= {*METRICS, "pass_at_k"}


def test_many_inputs_are_one_batch(scripted: Any) -> None:
    engine = scripted()
    run(TASKS["translation"], engine, [{"text": f"word {n}", "to": "fr"} for n in range(9)])
    assert [len(call) for call in engine.calls] == [9]


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ({"text": "x"}, "translation lacks 'to' "),
        ({"txt": "x", "to": "fr"}, "did you mean text"),
        ({"text": " ", "to": "fr"}, "text is empty"),
        ({"text": 3, "to": "fr"}, "is a int, not a text"),
    ],
)
def test_inputs_that_do_not_fit(scripted: Any, inputs: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        run(TASKS["translation"], scripted(), [inputs])


def test_options_that_do_not_fit(scripted: Any) -> None:
    inputs = [{"text": "x", "to": "fr"}]
    with pytest.raises(UsageError, match="did you mean temperature"):
        run(TASKS["translation"], scripted(), inputs, Options(decoding={"temprature": 1}))
    with pytest.raises(UsageError, match="language 'xx' has no instructions"):
        run(TASKS["translation"], scripted(), inputs, Options(language="xx"))
    with pytest.raises(UsageError, match="max_new_tokens 0 is out of range"):
        run(TASKS["translation"], scripted(), inputs, Options(decoding={"max_new_tokens": 0}))
    with pytest.raises(UnsupportedError, match="encoder without a head"):
        run(TASKS["code"], scripted(kind="encoder"), [{"text": "x"}])
    with pytest.raises(UsageError, match="leaves text no room"):
        run(TASKS["translation"], scripted(context_length=8), inputs)


def test_a_text_with_braces_stays_a_text(scripted: Any) -> None:
    (result,) = run(TASKS["translation"], scripted(), [{"text": "{to_name} {x}", "to": "fr"}])
    assert result.text.endswith("{to_name} {x}")


def test_calls(scripted: Any) -> None:
    engine = scripted(lambda asked: "Bonjour")
    assert tasks.translate(engine, "Hello", to="fr", from_="en").text == "Bonjour"
    found = tasks.translate(engine, ["a", "b"], to="fr", decoding={"max_new_tokens": 3})
    assert [one.text for one in found] == ["Bonjour"] * 2
    assert engine.calls[-1][0].decoding.max_new_tokens == 3
    assert set(COMMANDS) <= set(dir(tasks))
    for name in COMMANDS:
        assert callable(getattr(tasks, name))
    with pytest.raises(AttributeError):
        tasks.nothing  # noqa: B018


def test_names_of_languages() -> None:
    assert name_of("fr", "zh") == "法语" and name_of("zh-Hant", "fr") == "chinois"
    assert name_of("Catalan", "en") == "Catalan"
    assert all(len(set(names.values())) == len(names) for names in NAMES.values())


def test_the_descriptions_load_without_torch() -> None:
    code = "import sys, llmos.tasks; print('torch' in sys.modules or 'transformers' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
