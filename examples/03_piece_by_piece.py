"""The same without a recipe file or a run: tokenizer, model, objective, batches, loop, folder.

python examples/03_piece_by_piece.py       # half a minute; leaves runs/example-pieces
"""

import sys
from pathlib import Path

from llmos.data.documents import Document, split_documents
from llmos.data.storyworld.stories import tell
from llmos.data.storyworld.world import sample_story
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.training.loop import Trainer
from llmos.training.objectives import make_objective

RECIPE = Recipe(name="pieces").with_values(
    {
        "model.family": "llama",
        "model.size": "tiny",
        "model.context_length": 96,
        "tokenizer.vocabulary_size": 600,
        "training.optimizer": "muon",
        "training.sequence_length": 96,
        "training.batch_size": 8,
        "training.learning_rate": 5e-3,
    }
)


def main(folder: Path = Path("runs/example-pieces")) -> None:
    """Train on small stories for 60 steps, and load the result with transformers."""
    told = (tell(sample_story(0, number), "en") for number in range(80))
    texts = [Document(story.id, story.text) for story in told]
    split = split_documents(texts, validation=0.1, test=0.1, seed=0)

    words = Vocabulary.of(train_tokenizer(count_pieces(d.text for d in split.train), RECIPE))
    model = build_model(RECIPE.model, words, seed=0)
    objective = make_objective(RECIPE, words)
    batches = objective.batches(split.train, seed=0)
    trainer = Trainer(model, batches, objective, RECIPE.training, total_steps=60, seed=0)
    while trainer.step < trainer.total_steps:
        report = trainer.run(20)
        held_out = objective.score(model, split.validation).bits_per_byte
        print(
            f"step {trainer.step}: loss {report.loss:.3f} nats/token, "
            f"{report.tokens / report.seconds:,.0f} tokens/s, held out {held_out:.3f} bits/byte"
        )
    write_model_folder(folder, model, words, RECIPE.model.context_length)

    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    prompt = tokenizer("Once", return_tensors="pt")
    print(tokenizer.decode(loaded.generate(**prompt, max_new_tokens=30)[0]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
