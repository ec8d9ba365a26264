"""What licences ask for, and what the Hugging Face hub calls them.

The tables are a help for cards and checks, not legal advice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llmos.provenance.licences import NONE, UNRECOGNISED, fold, normalise, parse

HUB_LICENCES = {
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "c-uda", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gpl-2.0",
    "gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa",
    "odbl", "odc-by", "ofl-1.1", "osl-3.0", "pddl", "postgresql", "unlicense", "wtfpl", "zlib",
}  # fmt: skip
_HUB_NAMES = {"ODbL-1.0": "odbl", "ODC-By-1.0": "odc-by", "PDDL-1.0": "pddl", "C-UDA-1.0": "c-uda"}


@dataclass(frozen=True)
class Obligations:
    """What must be observed by who passes on a text in a changed form, such as cleaned."""

    attribution: bool = False
    """Credit the authors, keep their notice."""
    share_alike: bool = False
    """Pass changed forms on under the same licence."""
    non_commercial: bool = False
    """Not for commercial use."""
    no_derivatives: bool = False
    """Changed forms may not be passed on."""

    def __or__(self, other: Obligations) -> Obligations:
        return Obligations(
            self.attribution or other.attribution,
            self.share_alike or other.share_alike,
            self.non_commercial or other.non_commercial,
            self.no_derivatives or other.no_derivatives,
        )

    @property
    def weight(self) -> tuple[bool, bool, bool, bool]:
        """For comparison: what hinders most comes first."""
        return self.no_derivatives, self.non_commercial, self.share_alike, self.attribution


_FREE = Obligations()
_CREDIT = Obligations(attribution=True)
_COPYLEFT = Obligations(attribution=True, share_alike=True)
_TABLE: tuple[tuple[str, Obligations], ...] = (
    (r"CC0-1\.0|CC-PDM-1\.0|PDDL-1\.0|Unlicense|0BSD|MIT-0|WTFPL|DL-DE-ZERO-2\.0", _FREE),
    (r"LicenseRef-public-domain|LicenseRef-scancode-public-domain|CDLA-Permissive-2\.0", _FREE),
    (r"MIT|ISC|Zlib|NCSA|PostgreSQL|Python-2\.0|PSF-2\.0|BSL-1\.0|BSD-[1234]-Clause.*", _CREDIT),
    (r"Apache-[\d.]+|AFL-.*|ECL-2\.0|Artistic-2\.0|OFL-1\.1|C-UDA-1\.0|Unicode-.*", _CREDIT),
    (r"ODC-By-1\.0|etalab-2\.0|OGL-(UK|Canada)-.*|DL-DE-BY-2\.0|NLOD-.*", _CREDIT),
    (r"CDLA-Permissive-1\.0|W3C.*|LPPL-1\.3c|MulanPSL-.*|TAPR-.*", _CREDIT),
    (r"(A|L)?GPL-.*|GFDL-.*|LGPLLR|MPL-.*|EUPL-.*|EPL-.*|OSL-.*|MS-PL|CECILL-2\..", _COPYLEFT),
    (r"ODbL-1\.0|CDLA-Sharing-1\.0|MulanPubL-.*", _COPYLEFT),
)  # fmt: skip


def obligations(stated: str) -> Obligations | None:
    """What a licence asks for; None where that is not known (also where none is stated).

    Of licences joined by OR that one counts which hinders least.
    """
    licence = normalise(stated)
    if licence in (NONE, UNRECOGNISED):
        return None

    def of_symbol(symbol: Any) -> Obligations | None:
        return _obligations(getattr(symbol, "license_symbol", symbol).key)

    def every(found: list[Obligations | None]) -> Obligations | None:
        total = _FREE
        for one in found:
            if one is None:
                return None
            total |= one
        return total

    def some(found: list[Obligations | None]) -> Obligations | None:
        return min((o for o in found if o is not None), key=lambda o: o.weight, default=None)

    return fold(parse(licence), of_symbol, every=every, some=some)


def may_redistribute(stated: str) -> bool:
    """Whether a changed form of a text, such as cleaned, may be passed on (perhaps not sold)."""
    found = obligations(stated)
    return found is not None and not found.no_derivatives


def hub_name(stated: str) -> str:
    """The Hugging Face hub's word for a licence: "unknown" for none, "other" for one not listed."""
    licence = normalise(stated)
    if licence == NONE:
        return "unknown"
    name = _HUB_NAMES.get(licence, re.sub("-(only|or-later)$", "", licence).lower())
    return name if name in HUB_LICENCES else "other"


@lru_cache(maxsize=1024)
def _obligations(key: str) -> Obligations | None:
    if key.startswith("CC-BY"):
        parts = key.split("-")
        return Obligations(True, "SA" in parts, "NC" in parts, "ND" in parts)
    for pattern, found in _TABLE:
        if re.fullmatch(pattern, key):
            return found
    return None
