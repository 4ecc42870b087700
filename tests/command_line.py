"""How a command of the test's own command line ended, and what it left on the disk."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.exit_code == 0, self.err
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        assert self.exit_code == 0, self.err
        return [json.loads(line) for line in self.out.splitlines()]

    def refusal(self) -> str:
        """Return the one sentence of a refused command, after checking that it is nothing else."""
        assert self.exit_code == 2, (self.out, self.err)
        assert self.out == ""
        assert self.err.startswith("Error: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        return self.err.removeprefix("Error: ").strip()


Cli = Callable[..., Ran]


def tree(place: Path) -> dict[str, bytes | None]:
    """Return all that lies below a place, with its bytes: what must be the same after a refusal."""
    return {str(path.relative_to(place)): path.read_bytes() if path.is_file() else None
            for path in sorted(place.rglob("*"))}
