"""What stock clients and the Hub's pages see of a repo's records: `main` shows the latest version, tags the aliases.

All of it is derived: whoever moves `main` or an alias's tag by hand changes no version and no alias, and the next
change of the records puts it right. Writers at once end with what the records say: each looks again after it wrote.
The Hub moves no tag in one step, so an alias's is absent for a moment, and a promoter that dies there leaves it so
until the alias moves again.
"""

from adapterhub.adapter.folder import FOLDER_FILES
from adapterhub.errors import InvalidFolder
from adapterhub.registry import layout
from adapterhub.registry.hugging_face_names import RECORDS, is_alias_tag, version_tag
from adapterhub.registry.hugging_face_repo import MAIN, ModelRepo, Refs, Tree, attempts
from adapterhub.registry.records import MoveRecord, parse_record


def show(repo: ModelRepo, record: str) -> None:
    """Bring what is seen up to date after a record was created. Raises the client's errors."""
    parts = record.split("/")
    if parts[0] == "versions" and parts[-1] in (layout.VERSION_FILE, layout.YANKED_FILE):
        show_latest(repo)
    if parts[0] == "aliases" and is_alias_tag(parts[1]):
        _point(repo, parts[1])


def show_latest(repo: ModelRepo) -> None:
    """Let `main` hold the files of the highest version that is not yanked; where there is none it stays."""
    for _ in attempts(repo.name):
        refs = repo.look_again()
        commit = _latest(repo, refs) if refs else None
        if refs is None or commit is None:
            return
        wanted, shown = _content(repo.files(commit)), _content(repo.files(refs.branches[MAIN]))
        if wanted == shown:
            return
        files = {name: repo.read(commit, name) for name in FOLDER_FILES if wanted.get(name) != shown.get(name)}
        repo.commit(MAIN, refs.branches[MAIN], "Show the latest version", files)


def _latest(repo: ModelRepo, refs: Refs) -> str | None:
    """Return the commit of the latest version."""
    records = repo.files(refs.branches[RECORDS])
    found = {number: refs.tags[tag] for file in records if (number := _number_of_version(file))
             and (tag := version_tag(number)) in refs.tags and f"versions/{number}/{layout.YANKED_FILE}" not in records}
    return found[max(found)] if found else None


def _number_of_version(file: str) -> int | None:
    folder, _, name = file.rpartition("/")
    return layout.number_of(folder.removeprefix("versions/")) if name == layout.VERSION_FILE else None


def _content(tree: Tree) -> dict[str, str]:
    """Return the git id of each file of an adapter folder: equal ids are equal bytes."""
    return {name: tree[name].blob_id for name in FOLDER_FILES if name in tree}


def _point(repo: ModelRepo, alias: str) -> None:
    """Let the tag of an alias's name lie on the version that the alias means."""
    for _ in attempts(repo.name):
        refs = repo.look_again()
        wanted = _meant(repo, refs, alias) if refs else None
        if refs is None or wanted is None or refs.tags.get(alias) == wanted:
            return
        if alias in refs.tags:
            repo.untag(alias)
        repo.tag(alias, wanted)


def _meant(repo: ModelRepo, refs: Refs, alias: str) -> str | None:
    """Return the commit of the version that an alias's last move points to; None where that cannot be told."""
    folder, records = f"aliases/{alias}/", refs.branches[RECORDS]
    files = (file.removeprefix(folder) for file in repo.files(records) if file.startswith(folder))
    last = max((number for file in files if (number := layout.number_of(file.removesuffix(".json")))), default=None)
    data = repo.read(records, f"{folder}{last}.json") if last else None
    if data is None:
        return None
    try:
        return refs.tags.get(version_tag(parse_record(MoveRecord, data, f"{repo.name}@{alias}").version))
    except InvalidFolder:  # whoever reads the alias is told
        return None
