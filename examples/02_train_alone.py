"""One organisation, one machine, one call: pre-train a small model, then teach it to classify.

python examples/02_train_alone.py          # about a minute; leaves runs/example-alone
"""

import json
import re
import sys
from pathlib import Path

import llmos
from llmos.data.storyworld.stories import write_stories

PRETRAINING = """
version = 1
name = "example-pretraining"
[model]
family = "llama"
size = "tiny"
context_length = 64
[tokenizer]
vocabulary_size = 600
[training]
optimizer = "muon"
learning_rate = 5e-3
sequence_length = 64
batch_size = 8
steps = 60
"""
# Which language is this sentence in? Additions of low rank to the model learn to tell.
CLASSIFIER = """
version = 1
name = "example-classifier"
[model]
base = "{base}"
context_length = 64
[objective]
name = "classification"
labels = ["English", "Spanish"]
[training]
method = "lora"
learning_rate = 1e-2
sequence_length = 64
batch_size = 8
steps = 60
"""


def main(folder: Path = Path("runs/example-alone")) -> None:
    """Train both, and classify two sentences with the transformers library alone."""
    text = folder / "text"
    write_stories(text, 60, ["en", "es"])
    (folder / "pretraining.toml").write_text(PRETRAINING)
    base = llmos.train(folder / "pretraining.toml", data=text, out=folder / "base")

    records = folder / "records"
    records.mkdir()
    with (records / "sentences.jsonl").open("w", encoding="utf-8") as file:
        for code, label in (("en", "English"), ("es", "Spanish")):
            for line in (text / f"{code}.jsonl").read_text("utf-8").splitlines():
                for sentence in re.split(r"(?<=[.!?]) ", json.loads(line)["text"]):
                    record = {"text": sentence, "label": label}
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
    (folder / "classifier.toml").write_text(CLASSIFIER.format(base=base.model))
    classifier = llmos.train(folder / "classifier.toml", data=records, out=folder / "classifier")

    from transformers import pipeline  # nothing of llmos is needed any more

    tell = pipeline("text-classification", model=str(classifier.model))
    for sentence in ("But it was raining hard.", "Pero llovía mucho."):
        print(sentence, "->", tell(sentence)[0]["label"])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
