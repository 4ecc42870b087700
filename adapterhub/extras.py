"""Parts of adapterhub that need an extra: said in one sentence where it is not installed."""

import importlib.util
from collections.abc import Sequence

from adapterhub.errors import InvalidConfig


def require_extra(extra: str, modules: Sequence[str]) -> None:
    """Raise InvalidConfig where a module of an extra is missing."""
    missing = [module for module in modules if _is_missing(module)]
    if missing:
        raise InvalidConfig(f"This needs {', '.join(missing)}, which the extra {extra!r} installs.",
                            hint=f"Run: pip install 'adapterhub[{extra}]'.")


def _is_missing(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:  # of `a.b` not even `a` is there
        return True
