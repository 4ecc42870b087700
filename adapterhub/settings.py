"""Where adapterhub keeps its things: read from the environment once, at the door, and passed on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Places and switches of one run."""

    registry: str
    """The user's registry: a path or an object-store URL (ADAPTERHUB_REGISTRY)."""
    cache: Path
    """Fingerprints, pulled versions, encoded rows; may be deleted at will (ADAPTERHUB_CACHE)."""
    data: Path | None
    """Public data sets for `scripts/build_registry` and benchmarks (ADAPTERHUB_DATA)."""
    shipped_registry: Path | None
    """The read-only registry that comes with adapterhub; None where it was left out of an install."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read ADAPTERHUB_REGISTRY, ADAPTERHUB_CACHE, ADAPTERHUB_DATA; XDG folders are the defaults."""
        home = Path(environment.get("HOME") or Path.home())
        user_data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
        user_cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
        return cls(
            registry=environment.get("ADAPTERHUB_REGISTRY") or str(user_data / "adapterhub" / "registry"),
            cache=Path(environment.get("ADAPTERHUB_CACHE") or user_cache / "adapterhub"),
            data=_data_folder(environment.get("ADAPTERHUB_DATA")),
            shipped_registry=_shipped_registry(),
        )


def _data_folder(given: str | None) -> Path | None:
    folder = Path(given) if given else _checkout() / ".." / "shared"
    return folder.resolve() if (folder / "data").is_dir() else None


def _shipped_registry() -> Path | None:
    """Inside the wheel it lies in the package; in a clone it is the folder beside the package."""
    for folder in (Path(__file__).parent / "shipped_registry", _checkout() / "registry"):
        if folder.is_dir():
            return folder
    return None


def _checkout() -> Path:
    return Path(__file__).resolve().parent.parent
