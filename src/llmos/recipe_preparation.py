"""The section of a recipe on how members clean their text: each key with its meaning.

What the members agree on stands here; what is a member's own business (protected patterns, lists
of opt-outs, where its text lies) is an argument of `llmos data prepare`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmos.recipe_about import about

PERSONAL_KINDS = (
    "email", "phone", "iban", "credit_card",
    "national_id", "ip_address", "crypto_wallet", "api_key",
)  # fmt: skip
QUALITY_RULES = ("gopher", "gopher_repetition", "c4", "fineweb")


@dataclass(frozen=True, kw_only=True)
class PreparationSection:
    """What `llmos data prepare` keeps, changes and drops."""

    languages: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "languages to keep, as ISO 639 codes; none named: all",
            pattern=r"[a-z]{2,3}",
            pattern_words="a code such as en or zh",
            later=True,
        ),
    )
    quality: tuple[str, ...] = field(
        default=QUALITY_RULES,
        metadata=about(
            "sets of rules that a text has to meet; gopher, gopher_repetition: arXiv 2112.11446, "
            "A1.1; c4: arXiv 1910.10683, 2.2; fineweb: arXiv 2406.17557, 3.5",
            choices=QUALITY_RULES,
            later=True,
        ),
    )
    line_documents: int = field(
        default=0,
        metadata=about(
            "a line that stands in at least so many documents is taken out of all but the first; "
            "0: lines are left alone",
            unit="documents",
            minimum=0,
            maximum=1000000000,
            later=True,
        ),
    )
    near_duplicates: bool = field(
        default=True,
        metadata=about(
            "drop near-duplicates: MinHash of word 5-grams (letters in scripts without spaces), 14 "
            "bands of 8 rows (arXiv 2406.17557, 3.4); exact duplicates are dropped in any case, "
            "records of several parts only those",
            later=True,
        ),
    )
    personal_data: str = field(
        default="mask",
        metadata=about(
            "what is done about personal data: masked by its kind, the document dropped, or kept",
            choices=("mask", "drop", "keep"),
            later=True,
        ),
    )
    personal_kinds: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "kinds of personal data to look for; none named: all",
            choices=PERSONAL_KINDS,
            later=True,
        ),
    )
    licences_allowed: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "SPDX licences that a document's licence has to allow; none named: any, also none "
            "stated; NONE stands for no licence stated",
            later=True,
        ),
    )
    licences_denied: tuple[str, ...] = field(
        default=(),
        metadata=about("SPDX licences that are refused, allowed or not", later=True),
    )
    contamination_words: int = field(
        default=13,
        metadata=about(
            "a text that shares so many words in a row with an evaluation set is dropped "
            "(arXiv 2005.14165, appendix C)",
            unit="words",
            minimum=4,
            maximum=100,
            later=True,
        ),
    )
