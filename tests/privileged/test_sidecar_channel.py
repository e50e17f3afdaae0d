"""The two ends of the control channel against each other: real sockets, real uids, one kernel."""

import os
import socket
import stat
import tempfile
import time
from pathlib import Path

import pytest
from support.forked import in_child

from policy.builtin import closed_policy
from supervisor.errors import Refusal
from supervisor.events.log import Log
from supervisor.kernel import peer
from supervisor.monitor.loop import Loop, open_signals
from supervisor.sidecar import directory, guest
from supervisor.sidecar.document import document
from supervisor.sidecar.frames import Hello, OnLoss, encode
from supervisor.sidecar.host import ControlHost, Ends
from supervisor.sidecar.host_states import Host

UID = GID = 51423  # nobody else on this machine: the sidecar looks for processes of this uid
DEADLINE_S = 20.0


@pytest.fixture
def shared():
    """A prepared directory that every uid can reach: pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="sandbox-shared-") as place:
        os.chmod(place, 0o755)
        made = Path(place) / "shared"
        made.mkdir(mode=0o777)
        directory.prepare(str(made), sidecar_uid=64998)
        yield made


def test_net_init_leaves_modes_that_no_umask_and_no_earlier_owner_changes(tmp_path):
    made = tmp_path / "shared"
    made.mkdir()
    os.chown(made, UID, GID)
    made.chmod(0o2777)
    before = os.umask(0o077)
    try:
        directory.prepare(str(made), sidecar_uid=64998)
        (made / "control" / "agent.sock").touch()
        (made / "control" / "session").touch()
        directory.prepare(str(made), sidecar_uid=64998)
    finally:
        os.umask(before)

    found = {path: os.stat(path) for path in (made, made / "control")}
    assert [(s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) for s in found.values()] == [
        (0, 0, 0o755),
        (64998, 64998, 0o711),
    ]
    assert os.listdir(made / "control") == []


def test_a_symlink_or_file_in_the_place_of_a_directory_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "control").symlink_to(victim)

    for path in ("link", "shared"):
        with pytest.raises(Refusal):
            directory.prepare(str(tmp_path / path), sidecar_uid=64998)

    assert (victim.stat().st_uid, stat.S_IMODE(victim.stat().st_mode)) == (0, 0o700)


def test_a_shared_directory_that_others_can_write_is_not_used(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(Refusal) as caught:
        directory.claim(str(tmp_path))
    assert caught.value.code.name == "sidecar.shared-directory"


def test_a_pinned_peer_is_that_process_for_good():
    def inside():
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        assert peer.peer_of(ours) == peer.Peer(os.getpid(), os.geteuid(), os.getegid())
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind("\0pin-test")
        listener.listen()
        pid = os.fork()
        if pid == 0:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            client.connect("\0pin-test")
            client.recv(1)
            os._exit(0)
        accepted, _ = listener.accept()
        pinned = peer.pin(accepted)
        alive = peer.is_dead(pinned)
        peer.kill(pinned)
        os.waitpid(pid, 0)
        theirs.close()
        return alive, peer.is_dead(pinned)

    assert in_child(inside) == (False, True)


class Sidecar:
    """The sidecar's end in a process of its own, as root; ``status`` waits for its end."""

    def __init__(self, shared) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self._serve(str(shared)))

    def _serve(self, shared: str) -> int:
        control = directory.claim(shared)
        ends = Ends()
        log = Log(format="json", level="error")
        loop = Loop(signals=open_signals(), lifecycle=ends, log=log)
        host = ControlHost(
            Host(uid=UID, gid=GID, grace_s=1.0, session=directory.recall(control)),
            shared=shared,
            control=control,
            uid=UID,
            document=document(closed_policy(), {"GREETING": "hello"}),
            on_agent=lambda pid: None,
            ends=ends,
            loop=loop,
            log=log,
        )
        ends.attach(host)
        loop.keep(host)
        host.start()
        return loop.run(0).status

    def status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def become_agent(uid: int = UID, gid: int = GID) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def listening(shared, *, yes: bool) -> None:
    end = time.monotonic() + DEADLINE_S
    while (shared / "control" / "agent.sock").exists() is not yes:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_agent_gets_policy_and_variables_and_its_status_becomes_the_sidecars(shared):
    def inside():
        sidecar = Sidecar(shared)
        agent = os.fork()
        if agent == 0:
            become_agent()
            attached = guest.attach(str(shared), on_loss=OnLoss.END, wait_s=DEADLINE_S)
            log = Log(format="json", level="error")
            loop = Loop(signals=open_signals(), lifecycle=Ends(), log=log)
            half = guest.ControlGuest(
                attached, shared=str(shared), on_loss=OnLoss.END, lost_s=1.0, loop=loop,
                log=log,
            )  # fmt: skip
            assert half.document.environment == {"GREETING": "hello"}
            assert not (shared / "control" / "agent.sock").exists()
            os._exit(0 if half.report(9) else 1)
        return os.waitstatus_to_exitcode(os.waitpid(agent, 0)[1]), sidecar.status()

    assert in_child(inside) == (0, 9)


def test_an_intruder_with_the_right_uid_finds_no_listener_once_the_agent_is_there(shared):
    def inside():
        sidecar = Sidecar(shared)
        attached, release = socket.socketpair()
        agent = os.fork()
        if agent == 0:
            become_agent()
            held = guest.attach(str(shared), on_loss=OnLoss.END, wait_s=DEADLINE_S)
            attached.send(b"1")
            attached.recv(1)
            held.connection.close()
            os._exit(0)
        release.recv(1)
        intruder = os.fork()
        if intruder == 0:
            become_agent()
            try:
                guest.connect(str(shared))
            except FileNotFoundError:
                names = []
                try:
                    names = os.listdir(shared / "control")
                except PermissionError:
                    names = ["hidden"]
                os._exit(0 if names == ["hidden"] else 2)
            os._exit(1)
        found = os.waitstatus_to_exitcode(os.waitpid(intruder, 0)[1])
        release.send(b"1")
        os.waitpid(agent, 0)
        os.kill(sidecar.pid, 15)
        return found, sidecar.status()

    assert in_child(inside) == (0, 0)


def test_other_uids_and_wrong_words_are_sent_away_and_the_agent_still_comes_in(shared):
    def inside():
        sidecar = Sidecar(shared)
        listening(shared, yes=True)
        for uid, packet in ((64998, encode(Hello(on_loss=OnLoss.END))), (UID, b"nonsense")):
            child = os.fork()
            if child == 0:
                os.chdir(shared)
                become_agent(uid, uid)
                client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                client.settimeout(DEADLINE_S)
                client.connect(str(shared / "control" / "agent.sock"))
                try:
                    client.send(packet)
                    client.recv(4096)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                os._exit(0)
            os.waitpid(child, 0)
        agent = os.fork()
        if agent == 0:
            become_agent()
            held = guest.attach(str(shared), on_loss=OnLoss.END, wait_s=DEADLINE_S)
            os._exit(0 if held.document.policy else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(agent, 0)[1])
        os.kill(sidecar.pid, 15)
        return status, sidecar.status()

    assert in_child(inside) == (0, 0)


def test_who_listens_in_the_sidecars_place_is_not_believed(shared):
    """The workload's own socket, if it could make one there: the owner of the directory decides."""

    def inside():
        (shared / "control").chmod(0o777)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        become_agent()
        listener.bind(str(shared / "control" / "agent.sock"))
        listener.listen()
        try:
            guest.attach(str(shared), on_loss=OnLoss.END, wait_s=1.0)
        except Refusal as refusal:
            return refusal.code.name
        return "believed"

    assert in_child(inside) == "sidecar.wrong-peer"
