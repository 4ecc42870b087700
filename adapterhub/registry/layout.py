"""Where each create-once object of a registry lies. It knows keys, not what is in them.

    <namespace>/<name>/versions/<n>/claim.json      created first: takes the number n
    <namespace>/<name>/versions/<n>/<four files>    the adapter folder
    <namespace>/<name>/versions/<n>/version.json    written last: the version exists if and only if this does
    <namespace>/<name>/versions/<n>/yanked.json     optional
    <namespace>/<name>/versions/<n>/signature.json  optional: who vouches for the manifest, as a Sigstore bundle
    <namespace>/<name>/aliases/<alias>/<k>.json     the highest k is where the alias points
    <namespace>/<name>/gates/<alias>/<k>.json       the highest k is what a version must meet to get the alias
    <namespace>/<name>/gates/<alias>/rows/<digest>  the rows that a gate measures on
    .policy/<k>.json                                the highest k holds: quotas, whose signatures count
"""

from adapterhub.adapter.reference import Reference
from adapterhub.errors import InvalidReference

CLAIM_FILE = "claim.json"
VERSION_FILE = "version.json"
YANKED_FILE = "yanked.json"
SIGNATURE_FILE = "signature.json"
POLICY_KEY = ".policy"


def versions_key(path: str) -> str:
    """Return the folder of all versions of `namespace/name`."""
    return f"{path}/versions"


def version_key(path: str, version: int) -> str:
    """Return the folder of one version; stock PEFT loads it by its path."""
    return f"{versions_key(path)}/{version}"


def file_key(path: str, version: int, file: str) -> str:
    """Return the key of one file of one version."""
    return f"{version_key(path, version)}/{file}"


def aliases_key(path: str) -> str:
    """Return the folder of all aliases of `namespace/name`."""
    return f"{path}/aliases"


def alias_key(path: str, alias: str) -> str:
    """Return the folder of one alias's moves."""
    return f"{aliases_key(path)}/{alias}"


def move_key(path: str, alias: str, number: int) -> str:
    """Return the key of an alias's move number `number`, counted from 1."""
    return numbered_key(alias_key(path, alias), number)


def gate_key(path: str, alias: str) -> str:
    """Return the folder of the gate before an alias."""
    return f"{path}/gates/{alias}"


def rows_key(path: str, alias: str, file: str) -> str:
    """Return the key of the rows that a gate measures on."""
    return f"{gate_key(path, alias)}/rows/{file}"


def numbered_key(folder: str, number: int) -> str:
    """Return the key of record `number` of a series."""
    return f"{folder}/{number}.json"


def number_of(text: str) -> int | None:
    """Return the number that a folder or move is named by, None for a name that is none (`01`, `x`)."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        return None
    return int(text) if str(int(text)) == text and text != "0" else None


def is_path(text: str) -> bool:
    """Say whether `text` is a valid `namespace/name`; foreign folders beside the registry's are not."""
    try:
        return str(Reference.parse(text)) == text and "@" not in text
    except InvalidReference:
        return False
