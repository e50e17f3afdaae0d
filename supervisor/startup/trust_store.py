"""The authorities that the workload's programs trust: the image's own bundle, and ours behind it.

Nothing of the image is changed. Its bundle is read once, before the workload runs, from where
distributions keep it, and only if the workload cannot have written it. What is made of it stands in
a directory of ours: on a read-only file system in the workload's own mount namespace where there
can be one, else as root's file in ``RUN_DIRECTORY``. A Landlock rule lets the workload read it.

Programs are led to it by ``VARIABLES``, but only once it holds an authority that the image does not
know: today the operator's (--extra-ca). TLS inspection will add the one that it makes at each start
to ``own``, and need no more than that. In an agent container that can neither mount nor write as
root (sidecar topology), the sidecar, which holds that authority, will write the same bundle to the
volume that both share.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from supervisor.errors import Refusal
from supervisor.settings import runtime_tree
from supervisor.startup import trust_codes as codes
from supervisor.startup.filesystem_rules import inside
from supervisor.startup.landlock_ruleset import describe
from supervisor.startup.trusted_file import Kind, read_trusted, untrusted
from supervisor.startup.trusted_path import open_trusted

# Where distributions keep the bundle of all authorities; the list is that of Go's crypto/x509.
PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL
    "/etc/ssl/cert.pem",  # Alpine without ca-certificates, BSD
)
BUNDLE_BYTES = 4 << 20  # Mozilla's list, which all of them ship, takes a quarter of one MiB
OWN_BYTES = 256 << 10  # an organisation has a few authorities of some 2 KiB each
MARK = b"-----BEGIN CERTIFICATE-----"
KEY = b"PRIVATE KEY-----"
_OWN = Kind(codes.CA_MISSING, codes.CA_UNTRUSTED, codes.CA_INVALID, OWN_BYTES)

# In the runtime's tree: an empty directory to mount on, which every image then has.
MOUNT_POINT = "trust"
RUN_DIRECTORY = "/run/sandbox-trust"
FILE = "ca-bundle.pem"
# OpenSSL and Go; Python's requests; curl; git; Node and Deno, which add it to their own; Cargo; AWS.
VARIABLES = (
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"),
    *("NODE_EXTRA_CA_CERTS", "DENO_CERT", "CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What was put together: PEM text, the image's file in it ("" if none, and why), our share."""

    content: bytes
    source: str
    problem: str
    own: int  # certificates

    def at(self, path: str) -> "TrustStore":
        """The same without its content, which nobody needs once it stands somewhere."""
        return TrustStore(path=path, source=self.source, sourceless=self.problem, own=self.own)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStore:
    """Where the bundle stands, and what is in it.

    ``path`` is "" where there is none, and ``problem`` says why; ``source`` is the image's file in
    it, "" where there is none, and ``sourceless`` says why.
    """

    path: str
    source: str
    sourceless: str
    own: int
    problem: str = ""

    @property
    def variables(self) -> dict[str, str]:
        """What leads programs to it; nothing as long as it only repeats what the image has."""
        return dict.fromkeys(VARIABLES, self.path) if self.path and self.own else {}


def read_own(path: str | None) -> bytes:
    """The operator's authorities, or nothing. Raises Refusal ``trust.*``."""
    if path is None:
        return b""
    content = read_trusted(path, _OWN)
    if MARK not in content or KEY in content:
        what = "a private key" if KEY in content else "no certificate"
        raise Refusal(codes.CA_INVALID, f"{path} holds {what}")
    return content


def mount_point() -> str:
    """Where the workload's own mount namespace shows the bundle."""
    return os.path.join(runtime_tree(), MOUNT_POINT)


def compose(own: bytes, *, writable: Iterable[str], groups: frozenset[int]) -> Bundle:
    """The image's bundle, if it is to be trusted, and ``own`` behind it.

    ``writable``: what the workload may change; ``groups``: its own, for whom group write counts.
    """
    changeable = tuple(writable)
    problems = []
    for place in PLACES:
        try:
            source, content = _read_system(place, changeable, groups)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            why = describe(error) if isinstance(error, OSError) else str(error)
            problems.append(f"{place}: {why}")
            continue
        whole = content if content.endswith(b"\n") else content + b"\n"
        return Bundle(content=whole + own, source=source, problem="", own=own.count(MARK))
    problem = (
        "; ".join(problems) or "the image has no certificate bundle where distributions keep it"
    )
    return Bundle(content=own, source="", problem=problem, own=own.count(MARK))


def _read_system(
    place: str, writable: tuple[str, ...], groups: frozenset[int]
) -> tuple[str, bytes]:
    """Where the bundle really is, and its content. Raises OSError, ValueError."""
    located = open_trusted(place, groups)
    try:
        if complaint := untrusted(os.fstat(located.descriptor)):
            raise ValueError(complaint)
        if any(inside(path, outer) for path in (place, located.path) for outer in writable):
            raise ValueError("the policy lets the workload write there")
        with open(f"/proc/self/fd/{located.descriptor}", "rb") as file:
            content = file.read(BUNDLE_BYTES + 1)
    finally:
        os.close(located.descriptor)
    if len(content) > BUNDLE_BYTES or MARK not in content:
        raise ValueError(f"no certificate in its first {BUNDLE_BYTES} bytes, or more than these")
    return located.path, content


def place(bundle: Bundle, *, not_mounted: str | None, writable: Iterable[str]) -> TrustStore:
    """Say where the bundle stands; as root's file where it could not be mounted, and why not."""
    if not bundle.content:
        return replace(bundle.at(""), problem=bundle.problem)
    if not_mounted is None:
        return bundle.at(os.path.join(mount_point(), FILE))
    if os.geteuid() != 0:
        problem = "this process is not root"
    elif any(inside(RUN_DIRECTORY, outer) for outer in writable):
        problem = f"the policy lets the workload write {RUN_DIRECTORY}"
    else:
        problem = _write_in_run_directory(bundle.content)
    if problem:
        return replace(bundle.at(""), problem=f"no mount ({not_mounted}); {problem}")
    return bundle.at(os.path.join(RUN_DIRECTORY, FILE))


def write(content: bytes, directory: int) -> None:
    """Put the bundle into a directory of ours, whole or not at all. Raises OSError."""
    fresh = f".{FILE}"
    with suppress(FileNotFoundError):  # an interrupted start's; never written to, whatever it is
        os.unlink(fresh, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(fresh, flags, 0o600, dir_fd=directory), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o444)
    os.rename(fresh, FILE, src_dir_fd=directory, dst_dir_fd=directory)


def _write_in_run_directory(content: bytes) -> str:
    """Why the bundle is not there; "" if it is."""
    parent, name = os.path.split(RUN_DIRECTORY)
    try:
        with _opened(open_trusted(parent, frozenset()).descriptor) as above:
            with suppress(FileExistsError):  # an earlier start's, or somebody else's: see below
                os.mkdir(name, 0o755, dir_fd=above)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            with _opened(os.open(name, flags, dir_fd=above)) as directory:
                facts = os.fstat(directory)
                if facts.st_uid != 0 or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    return f"others than root can change {RUN_DIRECTORY}"
                os.fchmod(directory, 0o755)
                write(content, directory)
    except OSError as error:
        return f"{RUN_DIRECTORY}: {describe(error)}"
    return ""


@contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
