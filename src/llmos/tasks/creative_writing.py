"""Creative writing: a story, a poem or a letter, from what it shall be about or from its beginning.

Sampled, for the likeliest text is seldom a good story (Holtzman et al. 2020, arXiv 1904.09751).
"""

from __future__ import annotations

from llmos.models.engines.engine import Decoding
from llmos.tasks.planning import in_one, written
from llmos.tasks.task import Example, Field, Task

CREATIVE_WRITING = Task(
    name="creative_writing",
    command="write",
    about="Write a story or another text.",
    fields=(Field(name="text", about="what it is about, or how it begins"),),
    chat={
        "en": "Write a story:\n{text}",
        "zh": "写一个故事：\n{text}",
        "fr": "Écris une histoire :\n{text}",
        "es": "Escribe un cuento:\n{text}",
        "de": "Schreibe eine Geschichte:\n{text}",
        "sw": "Andika hadithi:\n{text}",
        "id": "Tulis sebuah cerita:\n{text}",
        "ja": "物語を書いてください：\n{text}",
        "ar": "اكتب قصة:\n{text}",
    },
    prompt="{text}",
    source="{text}",
    # The nucleus of the paper's section 4.3, at the temperature of `models.publish.SAMPLING`.
    decoding=Decoding(max_new_tokens=400, temperature=0.7, top_p=0.95),
    metrics=("repetition",),
    example=Example(
        inputs={"text": "A fisherman who is afraid of water."},
        output="Every morning Tomas mended nets on the quay and let his sister take the boat out.",
    ),
    plan=in_one,
    answer=written,
)
