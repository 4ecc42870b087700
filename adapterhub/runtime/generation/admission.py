"""Which waiting rows may join those in flight: by number, by bytes, by tokens of one pass. It computes nothing."""

from collections.abc import Sequence

from adapterhub.runtime.generation.key_values import Need, TokenBytes
from adapterhub.runtime.generation.row import WritingRow
from adapterhub.runtime.generation.settings import GeneratorConfig


class Admission:
    """One step's decision, row after row. A row that joins has room until its end: nothing is taken back."""

    def __init__(self, in_flight: Sequence[Need], token_bytes: TokenBytes, config: GeneratorConfig) -> None:
        self._needs, self._token_bytes, self._config = list(in_flight), token_bytes, config
        self.joining: list[WritingRow] = []

    @property
    def is_alone(self) -> bool:
        """Whether no row is in flight or joins."""
        return not self._needs

    @property
    def has_room(self) -> bool:
        """Whether one more row may be in flight."""
        return len(self._needs) < self._config.max_rows

    def fits(self, row: WritingRow) -> bool:
        """Say whether a row fits beside those in flight and those that join."""
        if self._token_bytes.of([*self._needs, row.need]) > self._config.cache_bytes:
            return False
        longest = max(len(other.prompt) for other in [*self.joining, row])
        return not self.joining or longest * (len(self.joining) + 1) <= self._config.runtime.tokens_per_pass

    def add(self, row: WritingRow) -> None:
        """Let a row join."""
        self.joining.append(row)
        self._needs.append(row.need)
