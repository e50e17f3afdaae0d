"""Kill or stop each process of a sidecar pod in each state: the table of what happens then.

In no row does the workload reach what the policy does not name, or read what is not its own; in
every row both containers end as the row says, and no process of the pod is left behind.

state      victim's signal and process; the agent's end, the sidecar's end
waiting    the sidecar is up and no agent has come; or the agent waits for its sidecar
serving    the workload runs and reaches what the policy names
stopping   the sidecar was told to end, and the workload uses its grace
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.podman import podman
from support.processes import children, children_of_user
from support.sandbox import events, wait_for, wait_for_event
from support.sidecar_pod import EGRESS, NAME, PORT, UID, Pod, sidecar_pod
from support.waiting import until

WATCHER = 64999
# Each turn: "online" where the allowed name answers; LEAK for anything that must not work.
TURN = f"""ask() {{ (exec 3<>/dev/tcp/$1/{PORT} && printf 'GET / HTTP/1.1\\r\\nHost: %s:{PORT}\\r\\n\\r\\n' $1 >&3 \
&& timeout 2 cat <&3) 2>/dev/null | grep -q upstream; }}
turn() {{ if ask {NAME}; then echo online; else echo offline; fi
if ask ADDRESS; then echo LEAK address; fi
if (echo x > /dev/udp/203.0.113.5/99) 2>/dev/null; then echo LEAK datagram; fi
if cat /policy/policy.yaml 2>/dev/null; then echo LEAK file; fi; }}
"""
FOR_EVER = TURN + "while :; do turn; sleep 0.2; done"
GRACIOUS = TURN + "trap 'echo told' TERM; while :; do turn; sleep 0.2; done"
GOES_ON = None  # the pod goes on as if nothing had happened, until it is told to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. An end is a status and, where it is no status of the workload's, the
    code that the half's own log gives for it.
    """

    state: str
    signal: str
    victim: str
    agent: tuple[int, str | None] | None
    sidecar: tuple[int, str | None] | None

    @property
    def name(self) -> str:
        return f"{self.state}: {self.signal} to {self.victim}"


ENDED, KILLED = (0, None), (137, None)
OUT_OF_GRACE = (137, "monitor.killed")
AGENT_LOST = (0, None)  # it waits for another agent, and is told to end meanwhile
ROWS = [
    Row(state="waiting", signal="KILL", victim="sidecar", agent=(125, "sidecar.not-there"), sidecar=KILLED),
    Row(state="waiting", signal="KILL", victim="egress", agent=GOES_ON, sidecar=GOES_ON),
    Row(state="waiting", signal="KILL", victim="agent", agent=KILLED, sidecar=AGENT_LOST),
    Row(state="serving", signal="KILL", victim="sidecar", agent=(137, "sidecar.lost"), sidecar=KILLED),
    Row(state="serving", signal="KILL", victim="egress", agent=GOES_ON, sidecar=GOES_ON),
    Row(state="serving", signal="KILL", victim="watcher", agent=GOES_ON, sidecar=GOES_ON),
    Row(state="serving", signal="KILL", victim="agent", agent=KILLED, sidecar=AGENT_LOST),
    Row(state="serving", signal="KILL", victim="workload", agent=KILLED, sidecar=KILLED),
    Row(state="stopping", signal="KILL", victim="sidecar", agent=(137, "sidecar.lost"), sidecar=KILLED),
    Row(state="stopping", signal="KILL", victim="agent", agent=KILLED, sidecar=ENDED),
]  # fmt: skip
# Most of these wait for a silence to be noticed.
NIGHTLY = [
    Row(state="waiting", signal="KILL", victim="watcher", agent=GOES_ON, sidecar=GOES_ON),
    Row(state="stopping", signal="KILL", victim="egress", agent=OUT_OF_GRACE, sidecar=KILLED),
    Row(state="stopping", signal="KILL", victim="watcher", agent=OUT_OF_GRACE, sidecar=KILLED),
    Row(state="stopping", signal="KILL", victim="workload", agent=KILLED, sidecar=KILLED),
    Row(state="serving", signal="STOP", victim="sidecar", agent=(137, "sidecar.lost"), sidecar=KILLED),
    Row(state="serving", signal="STOP", victim="agent", agent=KILLED, sidecar=AGENT_LOST),
    Row(state="waiting", signal="STOP", victim="sidecar", agent=(125, "sidecar.not-there"), sidecar=KILLED),
    Row(state="waiting", signal="STOP", victim="agent", agent=KILLED, sidecar=(125, "sidecar.agent-never-came")),
    Row(state="waiting", signal="STOP", victim="egress", agent=GOES_ON, sidecar=GOES_ON),
    Row(state="serving", signal="STOP", victim="egress", agent=GOES_ON, sidecar=GOES_ON),
    Row(state="serving", signal="STOP", victim="watcher", agent=GOES_ON, sidecar=GOES_ON),
    Row(state="serving", signal="STOP", victim="workload", agent=GOES_ON, sidecar=GOES_ON),
    Row(state="stopping", signal="STOP", victim="sidecar", agent=OUT_OF_GRACE, sidecar=KILLED),
    Row(state="stopping", signal="STOP", victim="agent", agent=KILLED, sidecar=ENDED),
    Row(state="stopping", signal="STOP", victim="egress", agent=OUT_OF_GRACE, sidecar=KILLED),
    Row(state="stopping", signal="STOP", victim="workload", agent=OUT_OF_GRACE, sidecar=KILLED),
]  # fmt: skip
CASES = [pytest.param(row, id=row.name) for row in ROWS] + [
    pytest.param(row, id=row.name, marks=pytest.mark.nightly) for row in NIGHTLY
]


class Struck:
    """A pod brought into the row's state."""

    def __init__(self, pod: Pod, row: Row) -> None:
        self.pod, self.row = pod, row
        pod.net_init().checked()
        self.agent = self.sidecar = None
        if row.state == "waiting" and row.victim == "agent":
            self._start_agent()
            return
        self.sidecar = pod.sidecar("--await-agent=30", "--grace=8")
        wait_for_event(self.sidecar, "helper.ready", helper="egress")
        if row.state == "waiting":
            return
        self._start_agent()
        wait_for(self.agent, "online")
        if row.state == "stopping":
            self.sidecar.kill("TERM")
            wait_for(self.agent, "told")

    def _start_agent(self) -> None:
        script = GRACIOUS if self.row.state == "stopping" else FOR_EVER
        # Short where it waits in vain.
        patience_s = 3 if self.row.agent == (125, "sidecar.not-there") else 15
        self.agent = self.pod.agent(
            *("bash", "-c", script.replace("ADDRESS", self.pod.upstream.address)),
            arguments=(f"--sidecar-timeout={patience_s}", "--grace=4"),
        )

    def strike(self) -> None:
        """Send the row's signal to its victim, and start the half that the state left out."""
        os.kill(self._pid(), getattr(signal, f"SIG{self.row.signal}"))
        if self.agent is None:
            self._start_agent()
        if self.sidecar is None:
            self.sidecar = self.pod.sidecar("--await-agent=3")

    def _pid(self) -> int:
        match self.row.victim:
            case "sidecar":
                return self.sidecar.host_pid()
            case "agent":
                return self.agent.host_pid()
            case "workload":
                (found,) = children(self.agent.host_pid())
                return found
            case helper:
                uid = EGRESS if helper == "egress" else WATCHER
                (found,) = children_of_user(self.sidecar.host_pid(), uid)
                return found

    def goes_on(self) -> None:
        """The workload is online (again), if it is not stopped itself; then the pod is told to end."""
        if self.row.victim == "workload":
            time.sleep(1)  # long enough to see that nobody minds
        else:
            if self.row.victim in ("egress", "watcher"):
                wait_for_event(self.sidecar, "helper.died")
            before = self.agent.logs().stdout.count("online")
            until(
                lambda: self.agent.logs().stdout.count("online") > before,
                lambda: (self.agent.logs(), self.sidecar.logs()),
            )
        self.sidecar.kill("TERM")

    def assert_ends(self) -> None:
        """As the row says."""
        row = self.row
        if row.agent is GOES_ON:
            self.goes_on()
            # bash ends by TERM; stopped it has to be killed
            status = 137 if row.victim == "workload" else 143
            assert (self.agent.wait(), self.sidecar.wait()) == (status, status)
            return
        assert self._end(self.agent) == row.agent
        if row.signal == "STOP" and row.victim == "sidecar":
            self.sidecar.kill("KILL")  # as its container's runtime would, in the end
        if row.sidecar == AGENT_LOST and row.state != "stopping":
            self.sidecar.kill("TERM")
        assert self._end(self.sidecar) == row.sidecar

    def _end(self, container) -> tuple[int, str | None]:
        if self.row.signal == "STOP" and self.row.victim == "agent" and container is self.agent:
            self._until_ended_by_others(container)
        status = container.wait()
        ends = ("sandbox.ended", "sidecar.ended", "start.refused")
        codes = [one.get("code") for one in events(container) if one["event"] in ends]
        return status, codes[-1] if codes else None

    def _until_ended_by_others(self, container) -> None:
        """What nobody in the pod may kill, the container's runtime does in the end."""
        if self.row.state == "serving":
            return  # the sidecar does
        self.sidecar.wait()
        container.kill("KILL")


def left_in(pod: Pod) -> list[str]:
    """Processes in the pod's PID namespace but its own first one."""
    infra = podman("pod", "inspect", "--format", "{{.InfraContainerID}}", pod.name).checked()
    first = podman("inspect", "--format", "{{.State.Pid}}", infra.stdout.strip()).checked()
    wanted = os.readlink(f"/proc/{first.stdout.strip()}/ns/pid")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "ns/pid") == wanted and entry.name != first.stdout.strip():
                found.append((entry / "comm").read_text())
        except OSError:
            continue  # it ended
    return found


@pytest.mark.parametrize("row", CASES)
def test_the_row_holds(row, tmp_path):
    with sidecar_pod(tmp_path) as pod:
        struck = Struck(pod, row)
        struck.strike()
        struck.assert_ends()

        printed = struck.agent.logs().stdout
        assert "LEAK" not in printed
        heads = [head for head in pod.upstream.heard if f"Host: {NAME}:".encode() not in head]
        assert heads == []
        assert left_in(pod) == []
        tried = pod.bare("echo x > /dev/udp/203.0.113.5/99", user=f"{UID}:{UID}")
        assert tried.returncode != 0  # the fence stands without any of us
