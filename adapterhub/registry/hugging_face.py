"""The Hugging Face Hub as a store: one model repo per adapter, one commit and one tag per version, records on a branch.

Everything goes through huggingface-hub's client: its tokens, its endpoint (HF_ENDPOINT), its cache, its offline mode.
`create` is a commit whose parent must still be the branch's head, so of many writers exactly one creates a key.

What differs from a bucket: a version's four files are created together or not at all, and a name needs room on the
Hub (hugging_face_names.py). `main` shows the latest version and each alias is a tag as well (hugging_face_view.py), so
stock clients read `revision="v3"` or `revision="production"`; whoever has the right to force a push can change what
a tag means, which every read finds by its digests. A repo that is new may be listed some seconds later.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile

from adapterhub.adapter.folder import FOLDER_FILES
from adapterhub.errors import InvalidReference, StorageError
from adapterhub.registry import layout
from adapterhub.registry.entry import Entry
from adapterhub.registry.hugging_face_errors import hub_errors, no_organisation
from adapterhub.registry.hugging_face_names import (
    MAX_NAME,
    RECORDS,
    WHOLE_REGISTRY,
    Spot,
    path_of,
    repo_name,
    spot_of,
    tagged_version,
    version_tag,
)
from adapterhub.registry.hugging_face_repo import FRESH_S, MAIN, ModelRepo, Refs, attempts, is_same
from adapterhub.registry.hugging_face_view import show, show_latest

_ORGANISATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")
_UNTOUCHED = {".gitattributes"}
"""What the Hub itself puts into a new repo."""
_MAX_REPOS = 256
"""Repos whose listings are kept in memory."""


def open_hub(address: str, environment: Mapping[str, str] = os.environ) -> "HubPlace":
    """Open `hf://organisation`; no request is sent. Raises StorageError for another form."""
    organisation = address.removeprefix("hf://").rstrip("/")
    if not _ORGANISATION.fullmatch(organisation):
        raise StorageError(f"{address} names no organisation or user of the Hub.",
                           hint="Write hf://organisation; each adapter gets a repo of its own there.")
    endpoint = environment.get("HF_ENDPOINT", "").rstrip("/") or None
    return HubPlace(HfApi(endpoint=endpoint, library_name="adapterhub"), organisation)


class HubPlace:
    """The adapters of one organisation or user. Thread-safe, and safe for any number of processes."""

    root = None

    def __init__(self, api: HfApi, organisation: str) -> None:
        self.place = f"hf://{organisation}"
        self._api, self._organisation = api, organisation
        self._repos: dict[str, ModelRepo] = {}
        self._names: tuple[float, list[str]] = (-FRESH_S, [])

    def create(self, key: str, data: bytes) -> bool:
        """Commit a record if absent, on top of the records that were looked at.

        Raises StorageError for one file of an adapter alone; InvalidReference where the Hub has no room for its name.
        """
        spot = self._held(key)
        if spot.version is not None:
            raise StorageError(f"{self.place} takes the files of a version only together, not {key} alone.",
                               hint="Restore a backup into a folder, then use `adapterhub copy` from there.")
        with hub_errors(self.place):
            repo = self._repo(spot.repo)
            self._make(repo)
            for _ in attempts(self.place):
                head = _branches(repo.look_again())[RECORDS]
                if spot.file in repo.files(head):
                    return False
                if repo.commit(RECORDS, head, f"Create {spot.file}", {spot.file: data}):
                    break
            show(repo, spot.file)
            return True

    def create_files(self, folder: str, files: Mapping[str, bytes]) -> str | None:
        """Commit a version's files together and tag the commit; a tag on the same bytes counts as created."""
        spot = self._held(f"{folder}/{next(iter(files))}")
        assert spot.version is not None, f"{folder} is no version's"
        tag = version_tag(spot.version)
        with hub_errors(self.place):
            repo = self._repo(spot.repo)
            self._make(repo)
            for _ in attempts(self.place):
                refs = repo.look_again()
                if refs and tag in refs.tags:
                    other = _other(repo, refs.tags[tag], files)
                    return f"{folder}/{other}" if other else None
                head = _branches(refs)[MAIN]
                commit = head if _other(repo, head, files) is None else repo.commit(MAIN, head, f"Version {tag}", files)
                # looked at again: the client leaves out of a commit what it believes to be there already
                if commit and _other(repo, commit, files) is None and repo.tag(tag, commit):
                    return None
        raise AssertionError("attempts end by raising")

    def get(self, key: str) -> bytes | None:
        """Read a file: of the tag's commit, or of the newest records."""
        spot = spot_of(key)
        with hub_errors(self.place):
            repo, commit = self._find(spot)
            return repo.read(commit, spot.file) if spot and repo and commit else None

    def exists(self, key: str) -> bool:
        """Look into the listing."""
        spot = spot_of(key)
        with hub_errors(self.place):
            repo, commit = self._find(spot)
            return bool(spot and repo and commit and spot.file in repo.files(commit))

    def keys(self, prefix: str) -> list[str]:
        """List below a folder, as it is now: what an alias means next is decided on this."""
        name = repo_name("/".join(prefix.split("/")[:2]))
        with hub_errors(self.place):
            if name:
                self._repo(name).look_again()
            return sorted(key for key, _ in self._objects(prefix, is_dated=False))

    def entries(self, prefix: str) -> list[Entry]:
        """List below a folder, with sizes and the times of the commits."""
        with hub_errors(self.place):
            found = []
            for key, file in self._objects(prefix, is_dated=True):
                assert file.last_commit is not None, "the listing was asked for with its commits"
                found.append(Entry(key=key, size_bytes=file.size, modified_at=file.last_commit.date))
        return sorted(found, key=lambda entry: entry.key)

    def folders(self, prefix: str) -> list[str]:
        """List one level: of the organisation's repos, or in one."""
        parts = prefix.split("/")
        with hub_errors(self.place):
            if len(parts) == 1:
                paths = [path for name in self._repo_names() if (path := path_of(name))]
                below = [path.partition("/") for path in paths]
                return sorted({name if prefix else namespace for namespace, _, name in below
                               if not prefix or namespace == prefix})
            return sorted(self._folders_in_repo("/".join(parts[:2]), "".join(f"{part}/" for part in parts[2:])))

    def delete(self, key: str) -> None:
        """Delete what never became visible: a record by a commit, a version's files by taking its tag away."""
        spot = spot_of(key)
        with hub_errors(self.place):
            repo, commit = self._find(spot)
            if spot is None or repo is None or commit is None:
                return
            if spot.version is not None:
                _take_back(repo, spot.version)
                return
            version, _, name = spot.file.rpartition("/")
            if name == layout.CLAIM_FILE and f"{version}/{layout.VERSION_FILE}" not in repo.files(commit):
                # Without its claim a tag is listed nowhere: taken away first, no interrupted sweep leaves it behind.
                _take_back(repo, int(version.rpartition("/")[2]))
            for _ in attempts(self.place):
                head = _branches(repo.look_again())[RECORDS]
                if spot.file not in repo.files(head) or repo.commit(RECORDS, head, f"Delete {spot.file}",
                                                                    {spot.file: None}):
                    return

    def stamps(self) -> Iterator[tuple[str, str]]:
        """Yield each adapter's name with the commit of its records, which changes whenever something of it does."""
        for name in self._repo_names():
            path = path_of(name)
            with hub_errors(self.place):
                refs = self._repo(name).refs() if path else None
            if path and refs and RECORDS in refs.branches:
                yield path, refs.branches[RECORDS]

    def _held(self, key: str) -> Spot:
        spot = spot_of(key)
        if spot is None:
            path = "/".join(key.split("/")[:2])
            raise InvalidReference(f"{path} has no room on the Hub, where it would be {path.replace('/', '__')}.",
                                   hint=f"Take a name without __ and --, not ending in .git, that has at most "
                                        f"{MAX_NAME - 1} characters with its namespace.")
        return spot

    def _find(self, spot: Spot | None) -> tuple[ModelRepo | None, str | None]:
        """Return the repo of a spot and the commit at which to read it."""
        repo = self._repo(spot.repo) if spot else None
        refs = repo.refs() if repo else None
        if spot is None or refs is None or RECORDS not in refs.branches:
            return None, None
        return repo, (refs.branches[RECORDS] if spot.version is None else refs.tags.get(version_tag(spot.version)))

    def _objects(self, prefix: str, *, is_dated: bool) -> Iterator[tuple[str, RepoFile]]:
        parts = prefix.split("/")
        if prefix.startswith("."):
            names = [WHOLE_REGISTRY]
        elif len(parts) > 1:
            names = [name for name in [repo_name("/".join(parts[:2]))] if name]
        else:
            names = self._repo_names()
        for name in names:
            path = path_of(name)
            for file, found in self._files_of(self._repo(name), f"{path}/" if path else "", prefix, is_dated=is_dated):
                if not prefix or file.startswith(f"{prefix}/"):
                    yield file, found

    def _files_of(self, repo: ModelRepo, above: str, prefix: str, *, is_dated: bool) -> Iterator[tuple[str, RepoFile]]:
        """Yield a repo's records, then the files of each version that was claimed, as far as `prefix` may hold them."""
        refs = repo.refs()
        if refs is None or RECORDS not in refs.branches:
            return
        records = repo.files(refs.branches[RECORDS], is_dated=is_dated)
        yield from ((f"{above}{file}", found) for file, found in records.items() if file not in _UNTOUCHED)
        for tag, commit in refs.tags.items():
            folder = f"versions/{tagged_version(tag)}"
            is_meant = f"{above}{folder}/".startswith(prefix) or prefix.startswith(f"{above}{folder}")
            if is_meant and f"{folder}/{layout.CLAIM_FILE}" in records:
                tree = repo.files(commit, is_dated=is_dated)
                yield from ((f"{above}{folder}/{name}", tree[name]) for name in FOLDER_FILES if name in tree)

    def _folders_in_repo(self, path: str, inside: str) -> set[str]:
        """Return the folders right below `inside` (empty, or ending in a slash); a version's number is taken by its tag
        alone already."""
        name = repo_name(path)
        refs = self._repo(name).refs() if name else None
        if name is None or refs is None or RECORDS not in refs.branches:
            return set()
        below = (file.removeprefix(inside) for file in self._repo(name).files(refs.branches[RECORDS])
                 if file.startswith(inside))
        tagged = (str(number) for tag in refs.tags if (number := tagged_version(tag)))
        return {file.partition("/")[0] for file in below if "/" in file} | set(tagged if inside == "versions/" else ())

    def _repo_names(self) -> list[str]:
        """Return the names of the organisation's repos that may be adapters'. Raises StorageError where nobody has its
        name."""
        at, names = self._names
        if time.monotonic() - at < FRESH_S:
            return names
        at = time.monotonic()
        with hub_errors(self.place):
            every = [model.id.partition("/")[2] for model in self._api.list_models(author=self._organisation)]
            if not every:
                self._require_organisation()
        names = sorted(name for name in every if path_of(name) or name == WHOLE_REGISTRY)
        self._names = (at, names)
        return names

    def _require_organisation(self) -> None:
        for ask in (self._api.get_organization_overview, self._api.get_user_overview):
            try:
                ask(self._organisation)
            except HfHubHTTPError as error:
                if error.response.status_code != 404:
                    raise
            else:
                return
        raise no_organisation(self.place)

    def _repo(self, name: str) -> ModelRepo:
        repo = self._repos.get(name)
        if repo is None:
            repo = ModelRepo(self._api, f"{self._organisation}/{name}")
            if len(self._repos) >= _MAX_REPOS:
                self._repos = {}
            self._repos[name] = repo
        return repo

    def _make(self, repo: ModelRepo) -> None:
        """Make the repo and its branch of records, unless the repo holds something of somebody's."""
        refs = repo.refs()
        if refs and RECORDS in refs.branches:
            return
        refs = repo.make()
        if RECORDS not in refs.branches and repo.files(refs.branches[MAIN]).keys() - _UNTOUCHED:
            refs = repo.look_again() or refs  # another publisher may have made the branch before it wrote to main
            if RECORDS not in refs.branches:
                raise StorageError(f"The repo {repo.name} holds something that adapterhub did not put there.",
                                   hint="Publish under another name, or move that repo away on the Hub first.")
        if RECORDS not in refs.branches:
            repo.branch(RECORDS, refs.branches[MAIN])


def _branches(refs: Refs | None) -> dict[str, str]:
    if refs is None:
        raise StorageError("The repo was deleted on the Hub while it was being written.", hint="Publish again.")
    return refs.branches


def _other(repo: ModelRepo, commit: str, files: Mapping[str, bytes]) -> str | None:
    """Return the name of a file that a commit does not hold with these bytes, None where it holds all of them."""
    tree = repo.files(commit)
    return next((name for name, data in files.items() if not is_same(tree.get(name), data)), None)


def _take_back(repo: ModelRepo, number: int) -> None:
    """Take away the files of what never became a version, and what `main` shows of them."""
    repo.untag(version_tag(number))
    show_latest(repo)
