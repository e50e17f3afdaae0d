"""Web sites that stand in for what programs fetch from: indexes, registries, repositories.

A site answers one request; which one is meant is the first label of the host that was asked for.
"""

import gzip
import hashlib
import json
import os
import subprocess
import zipfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

BACKEND = "/usr/lib/git-core/git-http-backend"
ZONE = "upstream.example"
PACKAGE = "tiny"  # the one package of every registry
DEADLINE_S = 20.0
TYPES = {".html": "text/html", ".json": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; ``path`` is without its query."""

    method: str
    host: str
    path: str
    query: str
    headers: object
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One response."""

    status: int = 200
    headers: tuple = ()
    body: bytes = b""


class Handler(BaseHTTPRequestHandler):
    """Gives each request to the site of its host; ``root`` and ``seen`` are set by the server."""

    protocol_version = "HTTP/1.1"
    timeout = DEADLINE_S

    def do_GET(self):
        host = self.headers.get("Host", "").partition(":")[0]
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(
            method=self.command, host=host, path=path, query=query, headers=self.headers, body=body
        )
        self.server.seen.append(request)
        reply = SITES.get(host.partition(".")[0], missing)(self.server.root, request)
        self.send_response(reply.status)
        for name, value in (*reply.headers, ("Content-Length", str(len(reply.body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else reply.body)

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *arguments):
        """Nothing: ``seen`` holds the requests."""


def missing(root, request):
    return Reply(status=404, body=b"no such site\n")


def files(root, request):
    """What lies under ``root/<first label of the host>``."""
    site = root / request.host.partition(".")[0]
    path = site / request.path.lstrip("/")
    if path.is_dir():
        path = path / "index.html"
    if not path.resolve().is_relative_to(site) or not path.is_file():
        return Reply(status=404, body=b"not found\n")
    kind = TYPES.get(path.suffix, "application/octet-stream")
    return Reply(headers=(("Content-Type", kind),), body=path.read_bytes())


def echo(root, request):
    """What was asked, as JSON."""
    asked = {"method": request.method, "host": request.host, "path": request.path}
    asked["body"] = len(request.body)
    return Reply(headers=(("Content-Type", "application/json"),), body=json.dumps(asked).encode())


def git(root, request):
    """git's own HTTP backend, by CGI (RFC 3875)."""
    body = request.body
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(root / "git"),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    done = subprocess.run(
        [BACKEND], input=body, capture_output=True, env=environment, timeout=DEADLINE_S, check=True
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    status = int(headers.pop("Status", "200").split()[0])
    return Reply(status=status, headers=tuple(headers.items()), body=body)


SITES = {"pypi": files, "npm": files, "deb": files, "git": git, "echo": echo, "other": echo}


def write_sites(root: Path):
    """Lay out everything that ``files`` and ``git`` serve."""
    for write in (_write_pypi, _write_npm, _write_deb, _write_git):
        write(root)


def _write_pypi(root):
    project = root / "pypi/simple" / PACKAGE
    project.mkdir(parents=True)
    wheel = project / f"{PACKAGE}-1-py3-none-any.whl"
    write_wheel(wheel)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    page = f'<!DOCTYPE html><a href="{wheel.name}#sha256={digest}">{wheel.name}</a>'
    (project / "index.html").write_text(page)


def write_wheel(path):
    """A wheel of one module (PEP 427)."""
    information = f"{PACKAGE}-1.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{PACKAGE}.py", "answer = 42\n")
        archive.writestr(
            f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1\n"
        )
        archive.writestr(
            f"{information}/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{information}/RECORD", f"{information}/RECORD,,\n")


def _write_npm(root):
    (root / "npm").mkdir()
    version = {"name": PACKAGE, "version": "1.2.3", "description": "an example"}
    version["dist"] = {"tarball": f"https://npm.{ZONE}/{PACKAGE}-1.2.3.tgz", "shasum": "0" * 40}
    packument = {
        "name": PACKAGE,
        "dist-tags": {"latest": "1.2.3"},
        "versions": {"1.2.3": version},
        "time": {"1.2.3": "2020-01-01T00:00:00.000Z"},
    }
    (root / "npm" / PACKAGE).write_text(json.dumps(packument))


def _write_deb(root):
    """A repository of no package: enough for apt-get update to be content."""
    dist = root / "deb/debian/dists/stable"
    packages = dist / "main/binary-amd64/Packages"
    packages.parent.mkdir(parents=True)
    text = (
        f"Package: {PACKAGE}\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\n"
        f"Filename: pool/{PACKAGE}.deb\nSize: 1\nSHA256: {'0' * 64}\nDescription: an example\n\n"
    ).encode()
    packages.write_bytes(text)
    digest, size = hashlib.sha256(text).hexdigest(), len(text)
    (dist / "Release").write_text(
        "Origin: test\nSuite: stable\nCodename: stable\nArchitectures: amd64\nComponents: main\n"
        "Date: Thu, 01 Jan 2026 00:00:00 UTC\n"
        f"SHA256:\n {digest} {size} main/binary-amd64/Packages\n"
    )


def _write_git(root):
    work = root / "work"
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")

    def run(*words):
        subprocess.run(["git", *words], check=True, capture_output=True, timeout=DEADLINE_S)

    run("init", "--quiet", str(work))
    (work / "README").write_text("hello from upstream\n")
    run("-C", str(work), "add", "README")
    run("-C", str(work), *identity, "commit", "--quiet", "--message", "first")
    run("clone", "--quiet", "--bare", str(work), str(root / "git/tool.git"))
