"""From what a caller asks to a row that can wait: its tokens, its sampler, its stop conditions, all checked."""

from typing import Any

from adapterhub.errors import PredictionError, RowTooLarge
from adapterhub.registry import Version
from adapterhub.runtime.generation.key_values import Need
from adapterhub.runtime.generation.language_model import SlotLanguageModel
from adapterhub.runtime.generation.row import WritingRow
from adapterhub.runtime.generation.sampler import sampler_of
from adapterhub.runtime.generation.settings import GenerationSettings
from adapterhub.runtime.generation.text import TextPieces


class RequestReader:
    """Reads requests for one model and one budget. Thread-safe: it keeps nothing."""

    def __init__(self, model: SlotLanguageModel, cache_bytes: int) -> None:
        self._model, self._base, self._cache_bytes = model, model.base, cache_bytes
        eos = model.model.generation_config.eos_token_id if model.model.generation_config else None
        self._eos = frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos])

    def row(self, reference: str | None, version: Version | None, prompt: Any, settings: GenerationSettings,
            *, now: float, timeout_s: float | None = None) -> WritingRow:
        """Return a row that waits.

        Raises PredictionError where the prompt cannot be read or is too long, RowTooLarge where it can never fit.
        """
        task, tokenizer = self._model.task, self._base.tokenizer
        tokens = task.encode_prompt(task.parse_row(prompt), tokenizer)
        start = self._model.start_tokens or tokens
        need = self._need(tokens, settings)
        self._require_fit(tokens, settings, need)
        sampler = sampler_of(self._model.model, settings, start, tokens if self._model.start_tokens else [])
        eos = self._eos if settings.stops_at_eos else frozenset()
        return WritingRow(reference=reference, version=version, prompt=tokens, start=start, settings=settings,
                          sampler=sampler, text=TextPieces(tokenizer, settings.stop_strings),
                          stop_tokens=eos | frozenset(settings.stop_token_ids), need=need, enqueued_at=now,
                          deadline=None if timeout_s is None else now + timeout_s)

    def _need(self, tokens: list[int], settings: GenerationSettings) -> Need:
        # The last new token is never read, so it keeps no key and value.
        if self._model.start_tokens:
            return Need(len(self._model.start_tokens) + settings.max_new_tokens - 1, len(tokens))
        return Need(len(tokens) + settings.max_new_tokens - 1)

    def _require_fit(self, tokens: list[int], settings: GenerationSettings, need: Need) -> None:
        limit, is_causal = self._base.max_length, not self._model.start_tokens
        if len(tokens) + (settings.max_new_tokens if is_causal else 0) > limit:
            told = f"The prompt has {len(tokens)} tokens"
            told += f" and {settings.max_new_tokens} are to come" if is_causal else ""
            raise PredictionError(f"{told}, the base takes {limit}.",
                                  hint="Shorten the prompt" + (" or ask for fewer tokens." if is_causal else "."))
        most = self._model.most_written
        if not is_causal and most is not None and need.n_columns > most:
            raise PredictionError(f"{settings.max_new_tokens} tokens are to come, the base writes at most {most}.",
                                  hint="Ask for fewer tokens.")
        size_bytes = self._model.token_bytes.of([need])
        if size_bytes > self._cache_bytes:
            raise RowTooLarge(size_bytes, self._cache_bytes)
