"""The steps of a preparation in their order: the cheap ones first, and masks after all that reads
the text as it was."""

from __future__ import annotations

from collections import Counter

from llmos.data.documents import Document
from llmos.data.preparation.settings import Settings
from llmos.data.steps.decontaminate import Decontaminate
from llmos.data.steps.language import IdentifyLanguage
from llmos.data.steps.licences import Licences
from llmos.data.steps.normalize import Normalize
from llmos.data.steps.optout import OptOut
from llmos.data.steps.personal_data.step import PersonalData
from llmos.data.steps.protected import Protected
from llmos.data.steps.quality.quality import Quality
from llmos.data.steps.step import Drop, Step
from llmos.records import JSON


class Chain:
    """All steps that the settings ask for, as one."""

    def __init__(self, settings: Settings) -> None:
        rules = settings.rules
        self._steps: list[Step] = [Licences(rules.licences_allowed, rules.licences_denied)]
        if settings.optouts:
            self._steps.append(OptOut(settings.optouts))
        self._steps.append(Normalize())
        if settings.protected:
            self._steps.append(Protected(settings.protected))
        self._steps.append(IdentifyLanguage(rules.languages))
        if rules.quality:
            self._steps.append(Quality(rules.quality))
        self._decontaminate = None
        if settings.decontaminate:
            self._decontaminate = Decontaminate(settings.decontaminate, rules.contamination_words)
            self._steps.append(self._decontaminate)
        if rules.personal_data != "keep":
            self._steps.append(PersonalData(rules.personal_kinds, rules.personal_data))

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop:
        """The document after all steps, or why one of them dropped it."""
        for step in self._steps:
            result = step(document, counts)
            if isinstance(result, Drop):
                return result
            document = result
        return document

    def findings(self) -> list[JSON]:
        """Documents that share text with an evaluation set, and with which."""
        return self._decontaminate.found if self._decontaminate else []
