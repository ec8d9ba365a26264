"""Four institutes train one model together, each on its own text; then everything is verified.

python examples/01_joint_run.py            # about a minute; leaves runs/example-joint
"""

import sys
from pathlib import Path

import llmos
from llmos.data.storyworld.stories import write_stories

RECIPE = """
version = 1
name = "example-joint"
[model]
size = "tiny"
context_length = 96
[tokenizer]
vocabulary_size = 700
[training]
learning_rate = 3e-3
batch_size = 4
sequence_length = 96
[rounds]
count = 4
local_steps = 8
[evaluation]
columns = ["alone", "together"]
"""


def main(folder: Path = Path("runs/example-joint")) -> None:
    """Write two small texts, train on them jointly, and look at what came out."""
    members = {name: folder / "texts" / name for name in ("north", "south")}
    for seed, path in enumerate(members.values()):
        write_stories(path, 40, ["en", "es"], start=40 * seed)
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)

    run = llmos.train(recipe, members=members, out=folder / "run", compare=True)

    for member, difference in run.comparison["differences"].items():
        print(f"{member}: together {difference['bits_per_byte']:+.3f} bits/byte against alone")
    assert llmos.verify(run.folder).ok
    print("".join(llmos.generate(run.model, "Once", max_new_tokens=40, seed=1)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
