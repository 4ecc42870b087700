"""A stand-in for the Hugging Face Hub on loopback: as much of its protocol as the unmodified client asks for.

Repos, commits with a parent that must be the head, large files by git-lfs, branches, tags, listings in pages,
downloads, tokens, and the error headers by which the client tells one fault from another.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repos import HubCommit, HubRepo

TOKEN = "hf_a_token_of_the_tests"
PAGE = 3
"""Names in one page of a listing of models."""
TREE_PAGE = 20
_ID = r"(?P<id>[^/]+/[^/]+)"


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, code: str = "", body: dict[str, Any] | None = None,
                 **headers: str) -> None:
        super().__init__(message)
        self.status, self.body = status, {"error": message, **(body or {})}
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}


class HubServer:
    """A server in threads of this process."""

    def __init__(self, *organisations: str) -> None:
        self.organisations = set(organisations)
        self.users: set[str] = set()
        self.repos: dict[str, HubRepo] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        """Every request so far: method and path."""
        self.requests_left: int | None = None
        """After so many requests every further one gets `refusal`, which the client does not try again; None: never."""
        self.refusal = 501
        self.has_large_files = True
        """Whether safetensors go by git-lfs; else all files travel within the commit."""
        self.breaks_at = ""
        """A part of a path at which the connection breaks off."""
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def repo(self, name: str, *, writer: str | None = None, is_writing: bool = False) -> HubRepo:
        """Find a repo for whoever asks; a stranger does not learn that a private one is there."""
        repo = self.repos.get(name)
        if repo is None or (repo.is_private and writer is None):
            raise Refused(404 if writer else 401, "Repository not found", "RepoNotFound")
        if is_writing and writer is None:
            raise Refused(401, "Invalid username or password.")
        return repo


class Request:
    """One request, with what its path named."""

    def __init__(self, hub: HubServer, handler: BaseHTTPRequestHandler, named: dict[str, str], body: bytes) -> None:
        self.hub, self.body = hub, body
        self.query = parse_qs(urlsplit(handler.path).query)
        self.named = {key: unquote(value or "") for key, value in named.items()}
        given = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        if given and given != TOKEN:
            raise Refused(401, "Invalid credentials in Authorization header")
        self.writer = given or None

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    def repo(self, *, is_writing: bool = False) -> HubRepo:
        return self.hub.repo(self.named["id"], writer=self.writer, is_writing=is_writing)

    def commit(self) -> HubCommit:
        found = self.repo().find(self.named["revision"])
        if found is None:
            raise Refused(404, f"Invalid rev id: {self.named['revision']}", "RevisionNotFound")
        return found


class Answer:
    """What is sent back: JSON, or bytes."""

    def __init__(self, value: Any, **headers: str) -> None:
        self.body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.headers = headers


def models(request: Request) -> Answer:
    wanted = request.query.get("author", [])
    known = sorted(name for name, repo in request.hub.repos.items()
                   if name.partition("/")[0] in wanted and not (repo.is_private and not request.writer))
    start = int(request.query.get("from", ["0"])[0])
    more = {"Link": f'<{request.hub.url}/api/models?author={wanted[0]}&from={start + PAGE}>; rel="next"'}
    return Answer([{"id": name} for name in known[start:start + PAGE]],
                  **(more if start + PAGE < len(known) else {}))


def model(request: Request) -> Answer:
    request.named.setdefault("revision", "")
    request.named["revision"] = request.named["revision"] or "main"
    commit = request.commit()
    return Answer({"id": request.named["id"], "sha": commit.oid, "private": request.repo().is_private,
                   "siblings": [{"rfilename": path} for path in commit.tree], "tags": [], "downloads": 0, "likes": 0})


def refs(request: Request) -> Answer:
    repo = request.repo()
    return Answer({"converts": [],
                   "branches": [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
                                for name, oid in repo.branches.items()],
                   "tags": [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
                            for name, oid in repo.tags.items()]})


def tree(request: Request) -> Answer:
    repo, commit = request.repo(), request.commit()
    is_dated = request.query.get("expand") == ["true"]
    entries = []
    for path, file in sorted(commit.tree.items()):
        by = repo.commits[file.commit]
        dated = {"lastCommit": {"id": by.oid, "title": by.title, "date": by.date}} if is_dated else {}
        entries.append({**file.facts(path), **dated})
    folders = {path.rpartition("/")[0] for path in commit.tree if "/" in path}
    entries += [{"type": "directory", "path": folder, "oid": "0" * 40} for folder in sorted(folders)]
    start = int(request.query.get("from", ["0"])[0])
    more = {"Link": f"<{request.hub.url}/api/models/{request.named['id']}/tree/{commit.oid}?recursive=true&expand="
                    f'{str(is_dated).lower()}&from={start + TREE_PAGE}>; rel="next"'}
    return Answer(entries[start:start + TREE_PAGE], **(more if start + TREE_PAGE < len(entries) else {}))


def create_repo(request: Request) -> Answer:
    if request.writer is None:
        raise Refused(401, "Invalid username or password.")
    name = f"{request.json['organization']}/{request.json['name']}"
    if request.json["organization"] not in request.hub.organisations | request.hub.users:
        raise Refused(403, f"You don't have the rights to create a model under the namespace "
                           f"\"{request.json['organization']}\"")
    if name in request.hub.repos:
        raise Refused(409, "You already created this model repo", body={"url": f"{request.hub.url}/{name}"})
    request.hub.repos[name] = HubRepo(is_private=request.json.get("visibility") == "private")
    return Answer({"url": f"{request.hub.url}/{name}"})


def preupload(request: Request) -> Answer:
    request.repo(is_writing=True)
    held = request.commit().tree
    lines = []
    for file in request.json["files"]:
        is_large = request.hub.has_large_files and file["path"].endswith(".safetensors")
        there = held.get(file["path"])
        oid = {"oid": there.sha256 if is_large else there.oid} if there else {}
        lines.append({"path": file["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False,
                      **oid})
    return Answer({"files": lines})


def commit(request: Request) -> Answer:
    repo, branch = request.repo(is_writing=True), request.named["revision"]
    header, *operations = [json.loads(line) for line in request.body.splitlines()]
    head = repo.branches.get(branch)
    if head is None:
        raise Refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    if header["value"].get("parentCommit", head) != head:
        raise Refused(412, "A commit has happened since. Please refresh and try again.")
    files: dict[str, tuple[bytes, bool] | None] = {}
    for operation in operations:
        value = operation["value"]
        if operation["key"] == "file":
            files[value["path"]] = (base64.b64decode(value["content"]), False)
        elif operation["key"] == "lfsFile":
            if value["oid"] not in request.hub.large:
                raise Refused(400, f"{value['path']} was not uploaded")
            files[value["path"]] = (request.hub.large[value["oid"]], True)
        else:
            assert operation["key"] == "deletedFile"
            files[value["path"]] = None
    oid = repo.commit(branch, header["value"]["summary"], files)
    return Answer({"success": True, "commitOid": oid,
                   "commitUrl": f"{request.hub.url}/{request.named['id']}/commit/{oid}"})


def large_batch(request: Request) -> Answer:
    request.repo(is_writing=True)
    objects = [{**wanted, **({} if wanted["oid"] in request.hub.large else
                             {"actions": {"upload": {"href": f"{request.hub.url}/large/{wanted['oid']}"}}})}
               for wanted in request.json["objects"]]
    return Answer({"transfer": "basic", "objects": objects})


def large_upload(request: Request) -> Answer:
    if hashlib.sha256(request.body).hexdigest() != request.named["oid"]:
        raise Refused(400, "The bytes have another digest")
    request.hub.large[request.named["oid"]] = request.body
    return Answer({})


def create_branch(request: Request) -> Answer:
    repo, name = request.repo(is_writing=True), request.named["name"]
    if name in repo.branches:
        raise Refused(409, f"Reference already exists: refs/heads/{name}")
    start = repo.find(request.json.get("startingPoint", "main"))
    if start is None:
        raise Refused(404, "Invalid rev id", "RevisionNotFound")
    repo.branches[name] = start.oid
    return Answer({})


def create_tag(request: Request) -> Answer:
    repo, name = request.repo(is_writing=True), request.json["tag"]
    if name in repo.tags:
        raise Refused(409, f"Tag reference exists already: refs/tags/{name}")
    repo.tags[name] = request.commit().oid
    return Answer({})


def delete_tag(request: Request) -> Answer:
    repo = request.repo(is_writing=True)
    if repo.tags.pop(request.named["name"], None) is None:
        raise Refused(404, "Tag not found")
    return Answer({})


def overview(request: Request) -> Answer:
    name = request.named["name"]
    if name not in request.hub.organisations:
        raise Refused(404, "This organization does not exist")
    return Answer({"name": name, "fullname": name, "avatarUrl": "", "isFollowing": False})


def user_overview(request: Request) -> Answer:
    name = request.named["name"]
    if name not in request.hub.users:
        raise Refused(404, "This user does not exist")
    return Answer({"user": name, "fullname": name, "avatarUrl": ""})


def validate_card(request: Request) -> Answer:
    is_right = "card_of_no_use" not in request.json["content"]
    if not is_right:
        raise Refused(400, '"license" is none of the Hub\'s', body={"errors": [{"message": '"license" is unknown'}]})
    return Answer({"errors": [], "warnings": []})


def resolve(request: Request) -> Answer:
    commit = request.commit()
    file = commit.tree.get(request.named["path"])
    if file is None:
        raise Refused(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": commit.oid})
    large = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.data))} if file.is_large else {}
    return Answer(file.data, **{"X-Repo-Commit": commit.oid, "ETag": f'"{file.oid}"', **large})


_ROUTES: list[tuple[str, str, Callable[[Request], Answer]]] = [
    ("GET", r"/api/models", models),
    ("GET", rf"/api/models/{_ID}", model),
    ("GET", rf"/api/models/{_ID}/revision/(?P<revision>[^/]+)", model),
    ("GET", rf"/api/models/{_ID}/refs", refs),
    ("GET", rf"/api/models/{_ID}/tree/(?P<revision>[^/]+)", tree),
    ("POST", r"/api/repos/create", create_repo),
    ("POST", r"/api/validate-yaml", validate_card),
    ("POST", rf"/api/models/{_ID}/preupload/(?P<revision>[^/]+)", preupload),
    ("POST", rf"/api/models/{_ID}/commit/(?P<revision>[^/]+)", commit),
    ("POST", rf"/{_ID}\.git/info/lfs/objects/batch", large_batch),
    ("PUT", r"/large/(?P<oid>[0-9a-f]{64})", large_upload),
    ("POST", rf"/api/models/{_ID}/branch/(?P<name>[^/]+)", create_branch),
    ("POST", rf"/api/models/{_ID}/tag/(?P<revision>[^/]+)", create_tag),
    ("DELETE", rf"/api/models/{_ID}/tag/(?P<name>[^/]+)", delete_tag),
    ("GET", r"/api/organizations/(?P<name>[^/]+)/overview", overview),
    ("GET", r"/api/users/(?P<name>[^/]+)/overview", user_overview),
    ("GET", rf"/{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
]
_COMPILED = [(method, re.compile(pattern), answer) for method, pattern, answer in _ROUTES]


def _answer(hub: HubServer, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
    """Answer one request at a time, as if it were one step."""
    method, path = "GET" if handler.command == "HEAD" else handler.command, urlsplit(handler.path).path
    with hub.lock:
        hub.requests.append(f"{handler.command} {path}")
        if hub.requests_left is not None:
            if hub.requests_left <= 0:
                raise Refused(hub.refusal, "The server is going down")
            hub.requests_left -= 1
        for asked, pattern, answer in _COMPILED:
            if asked == method and (match := pattern.fullmatch(path)):
                return answer(Request(hub, handler, match.groupdict(), body))
        raise Refused(501, f"The stand-in does not know {handler.command} {path}")


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet per answer, sent at once
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if hub.breaks_at and hub.breaks_at in self.path:
                self.close_connection = True
                return
            status = 200
            try:
                answer = _answer(hub, self, body)
            except Refused as refusal:
                status, answer = refusal.status, Answer(refusal.body, **refusal.headers)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  # the standard library looks for these names

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


@contextmanager
def hub_server(*organisations: str) -> Iterator[HubServer]:
    """Run a server for a block."""
    server = HubServer(*organisations)
    try:
        yield server
    finally:
        server.close()
