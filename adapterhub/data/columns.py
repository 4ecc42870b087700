"""Fields and the columns that usually hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapterhub.errors import DataError, UnknownName, did_you_mean, near_misses

COMMON_COLUMNS: dict[str, tuple[str, ...]] = {
    "text": ("text", "sentence", "message", "utterance", "content", "review", "headline", "query", "sentence1",
             "premise", "question", "body"),
    "text_pair": ("text_pair", "sentence2", "hypothesis"),
    "label": ("label", "labels", "intent", "category", "class", "sentiment", "topic", "target"),
    "labels": ("labels", "label", "tags", "topics", "categories"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "labels", "entities"),
    "query": ("query", "question", "text", "sentence1", "anchor"),
    "answer": ("answer", "positive", "passage", "text_pair", "sentence2", "response"),
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph", "document", "text"),
    "answers": ("answers", "answer"),
    "prompt": ("prompt", "instruction", "question", "source", "input", "document", "article", "dialogue"),
    "completion": ("completion", "response", "output", "answer", "target", "summary", "highlights"),
    "references": ("references",),
    "messages": ("messages",),
    "score": ("score", "similarity", "similarity_score", "rating"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The fields that a task's rows need, and those they may have."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    others: tuple[tuple[str, ...], ...] = ()
    """Fields that may stand instead of the required ones, and of the optional ones with them."""

    def chosen_for(self, available: Sequence[str], given: Mapping[str, str]) -> "Columns":
        """Return the fields that a table's rows are read by: `required` and `optional`, or one of the `others`.

        Others are taken where a column is given for one of them, or where the required fields have no columns and
        these have their own names. Raises UnknownName where `given` names a field that is in none of them.
        """
        alternatives = [Columns(required=fields) for fields in self.others]
        for columns in (self, *alternatives):
            if given and given.keys() <= {*columns.required, *columns.optional}:
                return columns
        fields = [*self.required, *self.optional, *(name for other in self.others for name in other)]
        if unknown := given.keys() - set(fields):
            raise UnknownName("field", min(unknown), fields)
        lowered = {name.lower() for name in available}
        if all(lowered.intersection(COMMON_COLUMNS[name]) for name in self.required):
            return self
        return next((columns for columns in alternatives if lowered.issuperset(columns.required)), self)


def match_columns(available: Sequence[str], columns: Columns, given: Mapping[str, str], *,
                  source: str) -> dict[str, str]:
    """Return field -> column, given names first, common names otherwise.

    Raises DataError where a required field has no column, a given column is not there, or one stands for two fields;
    UnknownName where `given` names a field that is neither required nor optional.
    """
    fields = (*columns.required, *columns.optional)
    for name in given:
        if name not in fields:
            raise UnknownName("field", name, fields)
    if len(set(given.values())) < len(given):
        raise DataError(f"One column of {source} is given for two fields: {dict(given)}.",
                        hint="Give each field its own column.")
    lowered = {name.lower(): name for name in reversed(available)}
    matched: dict[str, str] = {}
    for name in fields:
        if name in given:
            if given[name] not in available:
                raise DataError(f"{source} has no column {given[name]!r}; it has {', '.join(available)}.",
                                hint=did_you_mean(near_misses(given[name], available)))
            matched[name] = given[name]
        else:
            taken = {*matched.values(), *given.values()}
            found = [lowered[c] for c in COMMON_COLUMNS[name] if c in lowered and lowered[c] not in taken]
            if found:
                matched[name] = found[0]
            elif name in columns.required:
                raise DataError(f"{source} has no column for {name}; it has {', '.join(available)}.",
                                hint=f"Name it: --column {name}=COLUMN{_instead(columns)}.")
    return matched


def _instead(columns: Columns) -> str:
    return "".join(f", or give {' and '.join(fields)}" for fields in columns.others)
