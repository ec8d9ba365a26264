"""A hub of one's own, and the well-known snippets against it: gpt2, t5-base, bert-base-uncased.

python examples/04_hub.py       # a minute; leaves runs/example-hub

The three models are ours: tiny, with weights drawn at random, under the short names that tutorials
use. With HF_ENDPOINT set, the tutorials' code runs as it stands; one thing has to be said that some
leave out: return_tensors="pt" where a model takes tensors.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from llmos.data.storyworld.stories import tell
from llmos.data.storyworld.world import sample_story

MODELS = {  # short name: family, head, objective
    "gpt2": ("gpt2", "causal_lm", "causal_lm"),
    "t5-base": ("t5", "seq2seq", "span_corruption"),
    "bert-base-uncased": ("bert", "masked_lm", "masked_lm"),
}
SNIPPETS = {
    "gpt2": """
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("gpt2")
model = AutoModelForCausalLM.from_pretrained("gpt2")
text = "Replace me by any text you'd like."
encoded_input = tokenizer(text, return_tensors="pt")
output = model(**encoded_input)
print("gpt2:", tuple(output.logits.shape))
""",
    "t5-base": """
from transformers import AutoTokenizer, T5ForConditionalGeneration

tokenizer = AutoTokenizer.from_pretrained("t5-base")
model = T5ForConditionalGeneration.from_pretrained("t5-base")
input_ids = tokenizer(
    "translate English to German: The house is wonderful.", return_tensors="pt"
).input_ids
outputs = model.generate(input_ids)
print("t5-base:", repr(tokenizer.decode(outputs[0], skip_special_tokens=True)))
""",
    "bert-base-uncased": """
from transformers import pipeline

unmasker = pipeline("fill-mask", model="bert-base-uncased")
print("bert-base-uncased:", len(unmasker("Hello I'm a [MASK] model.")), "guesses")
""",
}


def make_model(name: str, folder: Path) -> None:
    """A tiny model of the family, with a tokenizer learned from small stories."""
    from llmos.models.families import build_model
    from llmos.models.pieces import count_pieces
    from llmos.models.publish import write_model_folder
    from llmos.models.vocabulary import Vocabulary, train_tokenizer
    from llmos.recipe import Recipe

    family, head, objective = MODELS[name]
    recipe = Recipe(name="classic").with_values(
        {
            "model.family": family,
            "model.size": "tiny",
            "model.context_length": 64,
            "training.sequence_length": 64,
            "tokenizer.vocabulary_size": 600,
            "objective.name": objective,
        }
    )
    texts = [tell(sample_story(0, number), "en").text for number in range(40)]
    words = Vocabulary.of(train_tokenizer(count_pieces(texts), recipe))
    model = build_model(recipe.model, words, seed=0, head=head)
    write_model_folder(folder, model, words, recipe.model.context_length)


def main(folder: Path = Path("runs/example-hub")) -> None:
    """Start a hub, put the models there as its admin, run the snippets."""
    folder = folder.absolute()
    if (folder / "hub").exists():
        sys.exit(f"{folder} is there already: remove it, or name another folder")
    command = [sys.executable, "-m", "llmos", "hub", "start", "--port", "0"]
    hub = subprocess.Popen(
        [*command, "--folder", str(folder / "hub")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "LLMOS_HUB_LOG": "warning"},
    )
    try:
        address = token = ""
        while not (address and token):
            line = hub.stdout.readline()
            assert line, "the hub did not start"
            address = address or next(iter(re.findall(r"http://[\w.:]+", line)), "")
            token = token or next(iter(re.findall(r"hf_\w+", line)), "")
        # Set before any of these libraries is imported: that is all that they need to know.
        environment = {
            "HF_ENDPOINT": address,
            "HF_TOKEN": token,
            "HF_HOME": str(folder / "cache"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        os.environ.update(environment)
        from huggingface_hub import HfApi
        from huggingface_hub.utils import build_hf_headers, get_session

        api = HfApi()
        for name in MODELS:
            make_model(name, folder / name)
            mine = api.create_repo(name).repo_id
            api.upload_folder(repo_id=mine, folder_path=folder / name)
            # A name without an owner: admins of the hub may give it, but no client knows how.
            move = {"fromRepo": mine, "toRepo": name, "type": "model"}
            headers = build_hf_headers(token=token)
            get_session().post(
                f"{address}/api/repos/move", headers=headers, json=move
            ).raise_for_status()
        anybody = {**os.environ, "HF_TOKEN": "", "TRANSFORMERS_VERBOSITY": "error"}
        for snippet in SNIPPETS.values():
            subprocess.run([sys.executable, "-c", snippet], env=anybody, check=True)
    finally:
        hub.terminate()
        hub.wait(30)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
