"""podman as an ordinary user that exists for one test, with its network in a namespace of the test.

slirp4netns gives the container its network from the namespace it runs in, so that also this
container reaches nothing but the stand-ins. The machine's /dev/net/tun is left alone: a node that
the user may open is mounted over it, in a mount namespace of podman's own.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.podman import CONFIGURATION, Result, environment
from support.upstreams import Namespace

USER = f"sandbox-{os.getpid()}"  # two runs on one machine do not share it
SUBORDINATE = "300000-365535"
# Loading an image copies every layer; half a minute for the largest one.
DEADLINE_S = 300.0
_AS_USER = """
set -e
mount --bind "$HOME/tun" /dev/net/tun
exec setpriv --reuid {user} --regid {user} --init-groups -- podman "$@"
"""


class Rootless:
    """The user's podman."""

    def __init__(self, home: Path, outside: Namespace) -> None:
        self.home = home
        self._outside = outside
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "CONTAINERS_CONF": str(home / "containers.conf"),
        }

    def podman(self, *arguments: str, stdin: int | None = None) -> Result:
        """Run one command to its end, inside the namespace."""
        line = ["unshare", "--mount", "bash", "-c", _AS_USER.format(user=USER), "podman"]
        done = self._outside.do(
            lambda: subprocess.run(
                [*line, *arguments], capture_output=True, env=self._environment, cwd="/",
                encoding="utf-8", errors="backslashreplace", timeout=DEADLINE_S, stdin=stdin,
            ),
            deadline_s=DEADLINE_S,
        )  # fmt: skip
        return Result(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def give(self, directory: Path) -> None:
        """Make everything there the user's."""
        for entry in (directory, *directory.rglob("*")):
            shutil.chown(entry, USER, USER)

    def load(self, images: Sequence[str]) -> None:
        """Copy images of root's store."""
        archive = self.home / "images.tar"
        subprocess.run(
            ["podman", "save", "--quiet", "--output", str(archive), *images],
            check=True, env=environment(), timeout=DEADLINE_S,
        )  # fmt: skip
        archive.chmod(0o644)
        self.podman("load", "--quiet", "--input", str(archive)).checked()
        archive.unlink()


@contextmanager
def rootless(outside: Namespace) -> Iterator[Rootless]:
    """Make the user, and remove it with everything it has."""
    home = Path(tempfile.mkdtemp(prefix="sandbox-test-rootless-"))
    _run("useradd", "--home-dir", str(home), "--no-create-home", "--user-group", USER)
    try:
        _run("usermod", "--add-subuids", SUBORDINATE, "--add-subgids", SUBORDINATE, USER)
        (home / "run").mkdir(mode=0o700)
        configuration = CONFIGURATION + 'cgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        (home / "containers.conf").write_text(configuration)
        storage = home / ".config/containers/storage.conf"
        storage.parent.mkdir(parents=True)
        storage.write_text('[storage]\ndriver = "overlay"\n')
        os.mknod(home / "tun", 0o020666, os.makedev(10, 200))
        (home / "tun").chmod(0o666)
        home.chmod(0o755)
        made = Rootless(home, outside)
        made.give(home)
        yield made
        made.podman("system", "reset", "--force")
    finally:
        _run("userdel", "--force", USER)
        shutil.rmtree(home)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
