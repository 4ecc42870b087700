"""The repos of a stand-in for the Hugging Face Hub: commits, branches, tags and large files, in memory."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

FIRST_TREE_FILE = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True)
class HubFile:
    """One file of a commit."""

    data: bytes
    is_large: bool
    commit: str
    """The commit that wrote it."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """Git's id: of the bytes, or of the pointer that git holds for a large file."""
        held = self.data
        if self.is_large:
            held = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(held)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(held) + held, usedforsecurity=False).hexdigest()

    def facts(self, path: str) -> dict[str, object]:
        """What a listing says of it."""
        large = {"lfs": {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}} if self.is_large else {}
        return {"type": "file", "path": path, "size": len(self.data), "oid": self.oid, **large}


@dataclass(frozen=True)
class HubCommit:
    """One commit with its whole tree."""

    oid: str
    parent: str | None
    title: str
    date: str
    tree: dict[str, HubFile]


@dataclass
class HubRepo:
    """One model repo."""

    is_private: bool = False
    commits: dict[str, HubCommit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit("main", "initial commit", {".gitattributes": (FIRST_TREE_FILE, False)})

    def commit(self, branch: str, title: str, files: dict[str, tuple[bytes, bool] | None]) -> str:
        """Write files (bytes, is large) or delete those that are None, on top of a branch."""
        parent = self.branches.get(branch)
        number = str(len(self.commits)).encode()
        oid = hashlib.sha1(b" ".join([number, (parent or "").encode(), title.encode()]),
                           usedforsecurity=False).hexdigest()
        tree = dict(self.commits[parent].tree) if parent else {}
        for path, content in files.items():
            if content is None:
                del tree[path]
            else:
                tree[path] = HubFile(*content, commit=oid)
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.commits[oid] = HubCommit(oid, parent, title, date, tree)
        self.branches[branch] = oid
        return oid

    def find(self, revision: str) -> HubCommit | None:
        """The commit of a branch, a tag, or a whole commit id."""
        return self.commits.get(self.branches.get(revision) or self.tags.get(revision) or revision)

    def history(self, branch: str) -> list[HubCommit]:
        """The commits of a branch, newest first."""
        found, oid = [], self.branches.get(branch)
        while oid:
            found.append(self.commits[oid])
            oid = self.commits[oid].parent
        return found

    def force_tag(self, tag: str, path: str, data: bytes) -> None:
        """What a force push does: the tag means a commit in which one file has other bytes."""
        oid = self.commit("forced", "rewritten", {})
        tree = dict(self.commits[self.tags[tag]].tree)
        tree[path] = HubFile(data, tree[path].is_large, oid)
        old = self.commits[oid]
        self.commits[oid] = HubCommit(oid, old.parent, old.title, old.date, tree)
        del self.branches["forced"]
        self.tags[tag] = oid
