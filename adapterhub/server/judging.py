"""What may be said of an answer: held against its task and its adapter's own labels. It writes nothing."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from adapterhub.errors import AdapterHubError, did_you_mean, near_misses
from adapterhub.feedback.records import CORRECTION_FIELDS, LABEL_FIELDS, KeptAnswer, Label
from adapterhub.server.errors import Conflict, UnfitFeedback
from adapterhub.server.follow import PinnedVersions
from adapterhub.server.service import fault_of_text

_KEPT = 1000
"""Adapters whose labels are remembered."""
Given = str | float | list[str]
"""A label as a request holds it."""


class KnownLabels:
    """The labels of versions, each read once. Used in the event loop."""

    def __init__(self, registry: PinnedVersions) -> None:
        self._registry = registry
        self._of_digest: dict[str, Sequence[str]] = {}

    async def of(self, answer: KeptAnswer) -> Sequence[str]:
        """Return the labels of the version that gave an answer. Raises Conflict where it cannot be read any more."""
        assert answer.digest is not None, "only adapters have labels"
        assert answer.pinned is not None, "whoever has a digest has a name"
        if answer.digest not in self._of_digest:
            try:
                folder = await asyncio.to_thread(self._registry.read, answer.pinned)
            except AdapterHubError as error:
                raise Conflict(f"The labels of {answer.version} cannot be read any more.",
                               hint="Give a rating instead.") from error
            while len(self._of_digest) >= _KEPT:
                self._of_digest.pop(next(iter(self._of_digest)))
            self._of_digest[answer.digest] = folder.manifest.labels
        return self._of_digest[answer.digest]


def label_for(answer: KeptAnswer, given: Given, known: Sequence[str]) -> Label:
    """Return a true label as it is kept: one of the adapter's own, so that no text comes in by this way.

    Raises UnfitFeedback.
    """
    field = LABEL_FIELDS.get(answer.task)
    if field is None:
        raise _unfit(f"An answer by {answer.task} is no label.", hint="Give a rating or a correction.")
    if field == "score":
        if isinstance(given, str | list) or not math.isfinite(given):
            raise _unfit(f"{answer.version} answers with a number, the label is none.", hint="Give the right number.")
        return float(given)
    wanted = str if field == "label" else list
    if not isinstance(given, wanted):
        raise _unfit(f"{answer.version} answers with {'one label' if field == 'label' else 'a list of labels'}.",
                     hint="Give the true one in the same form.")
    for label in [given] if isinstance(given, str) else given if isinstance(given, list) else []:
        if label not in known:
            raise _unfit(f"{label[:80]!r} is none of the {len(known)} labels of {answer.version}.",
                         hint=did_you_mean(near_misses(label[:80], known)) or "Its card lists them.")
    return given if isinstance(given, str) else tuple(sorted(set(given))) if isinstance(given, list) else given


def require_correction(answer: KeptAnswer, given: Mapping[str, Any], *, keeps_texts: bool) -> None:
    """Raise Conflict where no texts are kept, UnfitFeedback where the fields are none of the task's."""
    if not keeps_texts:
        raise Conflict("This server keeps no texts, and a correction is one.",
                       hint="Give a label or a rating; or start the server with --store-inputs.")
    allowed = CORRECTION_FIELDS.get(answer.task, ())
    for name in given:
        if name not in allowed:
            raise _unfit(f"A correction for {answer.task} has no field {name[:80]!r}.", field="correction",
                         hint=f"It takes {', '.join(allowed) or 'none'}.")
    if not given:
        raise _unfit("The correction is empty.", field="correction", hint=f"It takes {', '.join(allowed)}.")
    if fault_of_text(given):
        raise _unfit("A text of the correction holds half of a character (a lone surrogate).", field="correction",
                     hint="Send whole characters.")


def _unfit(message: str, *, hint: str, field: str = "label") -> UnfitFeedback:
    return UnfitFeedback(message, field=field, hint=hint)
