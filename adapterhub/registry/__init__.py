"""The registry: published adapters as create-once objects in a folder or bucket. It knows no torch and no base."""

from adapterhub.registry.aliases import AliasMove
from adapterhub.registry.chain import Registries, open_registries
from adapterhub.registry.folders import WithFolders
from adapterhub.registry.gates import Evaluate, Limits
from adapterhub.registry.pull import Verification
from adapterhub.registry.registry import ReadableRegistry, Registry
from adapterhub.registry.resolve import Version, resolve_served
from adapterhub.registry.search import Listing, Query
from adapterhub.registry.signing import SigningKey

__all__ = [
    "AliasMove",
    "Evaluate",
    "Limits",
    "Listing",
    "Query",
    "ReadableRegistry",
    "Registries",
    "Registry",
    "SigningKey",
    "Verification",
    "Version",
    "WithFolders",
    "open_registries",
    "resolve_served",
]
