"""`llmos demo`: the main job from end to end, on small made-up text or on the user's own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from llmos.cli.generate import quiet_transformers
from llmos.cli.train import go_on, parse_members, start
from llmos.cli.verify import print_verification
from llmos.data.storyworld.checker import pass_rate
from llmos.data.storyworld.stories import tell, write_stories
from llmos.data.storyworld.world import sample_story
from llmos.errors import LedgerError, UsageError
from llmos.recipe import load_recipe

NAMES = {"en": "English", "zh": "Chinese", "fr": "French", "es": "Spanish"}
LANGUAGES = tuple(NAMES)
# Stories of a member: most in its own language, some in each other one, none told twice.
HOME_STORIES = 48
OTHER_STORIES = 24
# Every story has its own number; these spaces between members and languages keep them apart.
MEMBER_SPACE, LANGUAGE_SPACE = 100_000, 10_000
UNSEEN = 900_000
SAMPLES, SHOWN, TEMPERATURE = 8, 2, 0.5


def demo(
    members: Annotated[
        str, typer.Option("--members", metavar='"A=PATH B=PATH"', help="Your own folders.")
    ] = "",
    recipe: Annotated[Path, typer.Option("--recipe", help="The recipe to run.")] = Path(
        "recipes/demo.toml"
    ),
    folder: Annotated[Path, typer.Option("--in", metavar="DIR", help="Where runs go.")] = Path(
        "runs"
    ),
) -> None:
    """Four members, one language model, and the evidence: train, compare, verify, try.

    Without --members, four institutes tell small synthetic stories (storyworld), each mostly in
    its own language. Takes about five minutes on two processor cores.
    """
    quiet_transformers()
    if not recipe.exists():
        raise UsageError(
            f"{recipe} is not here: run this in the LLMOS repository, or give --recipe FILE"
        )
    out = _next_run(folder)
    if (out / "run.json").exists():
        typer.echo(f"going on with the unfinished {out}")
        go_on(out)
    else:
        own = parse_members(members.split(), option="--members")
        agreed = load_recipe(recipe)
        if not own:
            own = write_demo_text(folder / "demo-text")
            typer.echo(
                f"text: {HOME_STORIES} stories of each member in its own language and "
                f"{OTHER_STORIES} in each other one, synthetic (storyworld), in {folder}/demo-text"
            )
        start(agreed, out, members=own, compare=True)
    _show_evidence(out)
    if members.strip():
        _show_own_samples(out)
    else:
        _show_samples(out)
    typer.echo(
        f"\nYour model: {out / 'model'} (start with its README.md). What to try next:\n"
        f'  llmos generate {out / "model"} "Once"\n'
        f"  llmos runs show {out}\n"
        '  make demo MEMBERS="a=path b=path"      your own folders of text\n'
        "  llmos recipe new --from recipes/demo.toml my.toml   then change it and run llmos train"
    )


def write_demo_text(folder: Path) -> dict[str, Path]:
    """Write the text of the four members; returns member -> folder."""
    paths: dict[str, Path] = {}
    for position, member in enumerate(LANGUAGES):
        paths[member] = folder / member
        for place, language in enumerate(LANGUAGES):
            write_stories(
                folder / member / language,
                HOME_STORIES if language == member else OTHER_STORIES,
                [language],
                start=position * MEMBER_SPACE + place * LANGUAGE_SPACE,
            )
    return paths


def _next_run(folder: Path) -> Path:
    """The last demo run if it is unfinished, else the next free name."""
    for number in itertools.count(1):
        out = folder / ("demo" if number == 1 else f"demo-{number}")
        if not (out / "run.json").exists() or not (out / "model" / "README.md").exists():
            return out
    raise AssertionError


def _show_evidence(out: Path) -> None:
    from llmos.federation.verify import verify_run

    typer.echo(f"\nllmos verify {out}")
    result = verify_run(out)
    print_verification(result)
    if not result.ok:
        raise LedgerError(f"{out} does not verify: {result.problems[0]}")


def _show_samples(out: Path) -> None:
    """Two unedited samples a language, and how many sentences the story grammar accepts."""
    from llmos.models.generate import continue_text, load_causal_lm

    model, tokenizer = load_causal_lm(out)
    typer.echo(
        f"\nsamples at temperature {TEMPERATURE}, unedited; "
        "their first words are from stories that no member has"
    )
    for language in LANGUAGES:
        texts = []
        for number in range(SAMPLES):
            story = tell(sample_story(0, UNSEEN + number), language).text
            opening = story[:6] if language == "zh" else " ".join(story.split()[:4])
            pieces = continue_text(model, tokenizer, opening, seed=number, temperature=TEMPERATURE)
            texts.append(opening + "".join(pieces))
        passed, total = pass_rate(texts, language, ignore_last=True)
        typer.echo(
            f"\n{NAMES[language]}: {passed} of {total} complete sentences in "
            f"{SAMPLES} samples pass storyworld's grammar checker"
        )
        for text in texts[:SHOWN]:
            typer.echo(f"  - {text}")


def _show_own_samples(out: Path) -> None:
    from llmos.models.generate import continue_text, load_causal_lm

    model, tokenizer = load_causal_lm(out)
    typer.echo("\nsamples: new documents, unedited")
    for number in range(SHOWN):
        typer.echo("  - " + "".join(continue_text(model, tokenizer, "", seed=number)))
