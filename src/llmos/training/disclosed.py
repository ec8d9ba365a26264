"""What of a member's text leaves it for the joint tokenizer: the counts, and the report on them."""

from __future__ import annotations

from dataclasses import replace

from llmos.models.disclosure import DisclosureReport, disclose, disclosure_report
from llmos.models.tokenizers.noise import Noise, count_bounded
from llmos.recipe import TokenizerSection
from llmos.training.material import Material


def disclosed_counts(
    material: Material, section: TokenizerSection
) -> tuple[dict[str, int], DisclosureReport]:
    """The piece counts that may leave home under a recipe's [tokenizer], and the report on them.

    With `noise_epsilon` they are other ones at every call, and each call spends it anew (see
    `models.tokenizers.noise`); the report then tells nothing but what the noisy counts tell.
    """
    noise = Noise.of(section)
    if noise is None:
        counts = material.counts()
        report = disclosure_report(counts, section.threshold)
        return disclose(counts, section.threshold), report
    threshold = max(section.threshold, noise.threshold)
    bounded = count_bounded((d.text for d in material.split.train), noise.pieces)
    sent = disclose(noise.add(bounded), threshold)
    report = disclosure_report(sent, threshold)
    return sent, replace(report, withheld_pieces=None, withheld_share=None)
