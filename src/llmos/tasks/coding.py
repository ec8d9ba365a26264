"""Code: a program, or a part of one, from what it shall do. Only code comes out.

It is never run here: see `evaluation.sandbox` for that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmos.models.engines.engine import Decoding
from llmos.tasks.planning import in_one, written
from llmos.tasks.task import Example, Field, Inputs, Task

# CommonMark 0.31, section 4.5: three or more marks, a word for the language, as many to close.
_FENCE = re.compile(
    r"^ {0,3}(```+|~~~+)[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^ {0,3}\1[ \t]*$|\Z)", re.M | re.S
)


def only_code(text: str, inputs: Inputs) -> tuple[str, Mapping[str, Any]]:
    """The fenced blocks of an answer, or all of it where it has none."""
    blocks = _FENCE.findall(text)
    if not blocks:
        return text.strip("\n").rstrip(), {"language": inputs["language"]}
    code = "\n\n".join(block.rstrip() for _, _, block in blocks)
    return code, {"language": blocks[0][1] or inputs["language"]}


CODE = Task(
    name="code",
    command="code",
    about="Write code that does what you say.",
    fields=(
        Field(name="text", about="what the code shall do"),
        Field(name="language", about="the programming language", default="Python"),
    ),
    chat={
        "en": "Write {language} code, and only code:\n{text}",
        "zh": "写{language}代码，只要代码：\n{text}",
        "fr": "Écris du code {language}, et seulement du code :\n{text}",
        "es": "Escribe código {language}, y solo código:\n{text}",
        "de": "Schreibe {language}-Code, und nur Code:\n{text}",
        "sw": "Andika msimbo wa {language}, msimbo tu:\n{text}",
        "id": "Tulis kode {language}, hanya kode:\n{text}",
        "ja": "{language}のコードだけを書いてください：\n{text}",
        "ar": "اكتب شيفرة {language} فقط:\n{text}",
    },
    prompt="{text}\n",
    prompt_stop=("\n\n\n",),
    source="{text}",
    decoding=Decoding(max_new_tokens=512),
    metrics=("pass_at_k",),
    example=Example(
        inputs={"text": "A function that adds two numbers."},
        output="def add(a, b):\n    return a + b",
    ),
    plan=in_one,
    answer=written,
    parse=only_code,
    is_streamed=False,  # whether there is a fence is known only at the end
)
