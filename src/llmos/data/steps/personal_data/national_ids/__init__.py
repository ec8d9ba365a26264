"""National identity and tax numbers by country. A new country is a file, a line here and a test."""

from llmos.data.steps.personal_data.national_ids import (
    brazil,
    china,
    france,
    germany,
    india,
    italy,
    spain,
    united_kingdom,
    united_states,
)
from llmos.data.steps.personal_data.patterns import Finder

COUNTRIES: dict[str, tuple[Finder, ...]] = {
    "BR": brazil.FINDERS,
    "CN": china.FINDERS,
    "DE": germany.FINDERS,
    "ES": spain.FINDERS,
    "FR": france.FINDERS,
    "GB": united_kingdom.FINDERS,
    "IN": india.FINDERS,
    "IT": italy.FINDERS,
    "US": united_states.FINDERS,
}
"""By ISO 3166-1 code; numbers of seven digits or more close together."""
IN_TEXT: tuple[Finder, ...] = (*brazil.IN_TEXT, *india.IN_TEXT, *united_kingdom.IN_TEXT)
"""Those with fewer."""
