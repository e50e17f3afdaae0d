"""A sidecar pod on podman, with an upstream that only egress can reach, both made for one test.

The upstream's sockets are in a container's network namespace of a podman network of its own; the
threads that serve them are the test's. The pod is made of ``podman run --pod``, because what
``kube play`` ignores (init containers, read-only mounts) matters here.
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.kernel.namespaces import CLONE_NEWNET, setns
from support.nameserver import NameServer, answering
from support.podman import Container, Result, podman
from support.sandbox import DEBIAN, ENTRYPOINT, RUNTIME, TREE

UID = GID = 4242
EGRESS = 64998
NAME, OTHER = "api.example.com", "other.example.com"
PORT, PROXY_PORT = 8080, 3128
SHARED = "/run/sandbox-supervisor"
PRIVILEGED = ("NET_ADMIN", "SYS_PTRACE", "KILL", "SETUID", "SETGID", "SETPCAP")
NET_INIT = ("NET_ADMIN", "CHOWN", "FOWNER")
DEADLINE_S = 60.0
_numbers = iter(range(10_000))

POLICY = f"""\
version: 1
network_policies:
  lab:
    endpoints:
      - {{host: {NAME}, port: {PORT}, allowed_ips: [10.0.0.0/8]}}
    binaries: [{{path: "/**"}}]
"""
UNAWARE = POLICY + "supervisor: {accept: [binary-identity]}\n"


@dataclass
class Upstream:
    """Servers in the outside's namespace, served by threads of the test."""

    address: str
    pid: int
    heard: list[bytes] = field(default_factory=list)

    def in_namespace(self, make):
        """Run ``make`` inside the outside's network namespace, in a thread of its own."""
        box: list[object] = []

        def work() -> None:
            with open(f"/proc/{self.pid}/ns/net") as namespace:
                setns(namespace.fileno(), CLONE_NEWNET)
            box.append(make())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(DEADLINE_S)
        return box[0]

    def start(self) -> None:
        """Serve names and HTTP."""
        table = {(NAME, "A"): [self.address], (OTHER, "A"): [self.address]}
        self.nameserver = self.in_namespace(
            lambda: NameServer(answering(table), address=self.address, port=53)
        )
        self.listen(PORT, self._serve)

    def start_proxy(self) -> list[str]:
        """Be a proxy as well, to ourselves; the request lines that it gets."""
        asked: list[str] = []

        def serve(near: socket.socket) -> None:
            head = near.recv(65536)
            asked.append(head.decode().split(" HTTP/")[0])
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._serve(near)

        self.listen(PROXY_PORT, serve)
        return asked

    def listen(self, port: int, serve: Callable[[socket.socket], None]) -> None:
        """Serve every connection to a port of the outside in a thread."""
        listener = self.in_namespace(lambda: socket.create_server((self.address, port)))

        def accept() -> None:
            while True:
                near, _ = listener.accept()
                threading.Thread(target=serve, args=(near,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(ConnectionError):  # whoever dialled may be killed at any time
            near.settimeout(DEADLINE_S)
            head = b""
            while data := near.recv(65536):
                head += data
                if not head.endswith(b"\r\n\r\n"):
                    continue  # a shell sends a line at a time
                self.heard.append(head)
                head = b""
                near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nupstream")


@dataclass
class Pod:
    """One pod: its network, its shared volume, and the containers that were started in it."""

    name: str
    upstream: Upstream | None
    policy: Path
    shared: str
    joined: tuple[str, ...]  # podman's options that put a container into it
    common: tuple[str, ...] = ()  # podman's options for every container

    def container(
        self,
        role: str,
        *command: str,
        user: str,
        caps: Sequence[str] = (),
        options: Sequence[str] = (),
        entrypoint: str = ENTRYPOINT,
        image: str = DEBIAN,
        shared: str = "rw",
        detach: bool = True,
        remove: bool = False,
    ) -> Result:
        """``podman run`` in the pod."""
        return podman(
            "run",
            *(("--detach",) if detach else ()),
            *(("--rm",) if remove else ()),
            *self.joined,
            *("--name", f"{self.name}-{role}", "--pull", "never"),
            *("--user", user, "--cap-drop", "ALL", *(f"--cap-add={cap}" for cap in caps)),
            *("--security-opt", "no-new-privileges", "--read-only"),
            *("--volume", f"{RUNTIME}:{TREE}:ro", "--volume", f"{self.policy.parent}:/policy:ro"),
            *("--volume", f"{self.shared}:{SHARED}:{shared}"),
            *("--entrypoint", entrypoint, *self.common, *options, image, *command),
        )

    def net_init(self, *more: str, caps: Sequence[str] = NET_INIT) -> Result:
        """Run the init container to its end."""
        words = ("net-init", "--policy", "/policy/policy.yaml", *self.ids(), *more)
        return self.container("net-init", *words, user="0:0", caps=caps, detach=False, remove=True)

    def sidecar(
        self, *more: str, privileged: bool = True, options: Sequence[str] = ()
    ) -> Container:
        """Start the sidecar."""
        words = ("sidecar", "--policy", "/policy/policy.yaml", *self.ids(), *more)
        self.container(
            "sidecar",
            *words,
            user="0:0" if privileged else f"{EGRESS}:{EGRESS}",
            caps=PRIVILEGED if privileged else (),
            options=options,
        ).checked()
        return Container(name=f"{self.name}-sidecar")

    def agent(
        self,
        *command: str,
        arguments: Sequence[str] = (),
        options: Sequence[str] = (),
        user: str = f"{UID}:{GID}",
        caps: Sequence[str] = (),
        role: str = "agent",
        image: str = DEBIAN,
        workdir: str = "/work",
    ) -> Container:
        """Start the agent's container."""
        words = ("run", "--mode", "network-only", "--shared", SHARED, "--log-format=json")
        ids = ("--uid", str(UID), "--gid", str(GID), "--workdir", workdir)
        self.container(
            role,
            *words,
            *ids,
            *arguments,
            "--",
            *command,
            user=user,
            caps=caps,
            shared="ro",
            options=("--mount=type=tmpfs,destination=/work,chown", *options),
            image=image,
        ).checked()
        return Container(name=f"{self.name}-{role}")

    def bare(self, script: str, *, user: str = f"{UID}:{GID}") -> Result:
        """Run a shell in the pod without any supervisor: who would be in the wrong container."""
        return self.container(
            f"bare-{next(_numbers)}",
            *("-c", script),
            user=user,
            entrypoint="/bin/sh",
            shared="ro",
            detach=False,
            remove=True,
        )

    def ids(self) -> tuple[str, ...]:
        return ("--uid", str(UID), "--gid", str(GID), "--shared", SHARED, "--log-format=json")


@contextmanager
def sidecar_pod(tmp_path: Path, *, policy: str = POLICY, share: str = "net,pid") -> Iterator[Pod]:
    """A pod with nothing in it yet, and its upstream."""
    name = f"sandbox-pod-{os.getpid()}-{next(_numbers)}"
    where = tmp_path / "policy"
    where.mkdir()
    (where / "policy.yaml").write_text(policy)
    with ExitStack() as undo:

        def undone(*command: str) -> None:
            undo.callback(podman, *command)

        podman("network", "create", "--disable-dns", name).checked()
        undone("network", "rm", "--force", name)
        outside = f"{name}-outside"
        podman(
            "run", "--detach", "--name", outside, "--network", name, "--pull", "never",
            "--entrypoint", "/bin/sleep", DEBIAN, "1000",
        ).checked()  # fmt: skip
        undone("rm", "--force", "--time", "0", outside)
        found = json.loads(podman("inspect", outside).checked().stdout)[0]
        address = found["NetworkSettings"]["Networks"][name]["IPAddress"]
        upstream = Upstream(address=address, pid=found["State"]["Pid"])
        upstream.start()
        volume = f"{name}-shared"
        podman("volume", "create", volume).checked()
        undone("volume", "rm", "--force", volume)
        podman(
            "pod", "create", "--name", name, "--share", share, "--network", name, "--dns", address
        ).checked()
        undone("pod", "rm", "--force", "--time", "0", name)
        yield Pod(
            name=name,
            upstream=upstream,
            policy=where / "policy.yaml",
            shared=volume,
            joined=("--pod", name),
        )


@contextmanager
def sidecar_pod_on(network: str, policy: Path, common: Sequence[str] = ()) -> Iterator[Pod]:
    """The same in a network of the caller's; podman makes no pod there, so one container is it."""
    name = f"sandbox-pod-{os.getpid()}-{next(_numbers)}"
    with ExitStack() as undo:
        volume = f"{name}-shared"
        podman("volume", "create", volume).checked()
        undo.callback(podman, "volume", "rm", "--force", volume)
        podman(
            *("run", "--detach", "--name", name, network, "--pull", "never"),
            *("--entrypoint", "/bin/sleep", DEBIAN, "1000"),
        ).checked()
        undo.callback(podman, "rm", "--force", "--time", "0", name)
        for role in ("net-init", "sidecar", "agent"):
            undo.callback(podman, "rm", "--force", "--ignore", "--time", "0", f"{name}-{role}")
        yield Pod(
            name=name,
            upstream=None,
            policy=policy,
            shared=volume,
            joined=(f"--network=container:{name}", f"--pid=container:{name}"),
            common=tuple(common),
        )
