"""The monitor's answer to "who holds this socket", on real processes."""

import os
import socket
import sys

import pytest
from support.forked import in_child

from supervisor.egress.owner_messages import Outcome, Question, encode_answer
from supervisor.kernel import capabilities, prctl
from supervisor.kernel.libc import check, libc
from supervisor.monitor import owners
from supervisor.monitor.owners import Found, Owners


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """A busy machine must not turn an answer into "over budget"; one test sets its own."""
    monkeypatch.setattr(owners, "BUDGET_S", 30.0)


def prctl_set_dumpable(value: int) -> None:
    """PR_SET_DUMPABLE: the id changes above turned it off."""
    check(libc.prctl(4, value, 0, 0, 0), "prctl")


def inode_of(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def answered(asked: Owners, question: Question):
    at_once = asked.ask(question)
    if at_once is not None:
        return at_once
    for _ in range(1000):
        for found in asked.work():
            kept = tuple(map(os.dup, found.descriptors))  # what we got is closed after this
            return Found(found.answer, kept)
    raise AssertionError("no answer")


def answers_of(asked: Owners):
    """Everything that waits, by its number."""
    answers = {}
    while asked.busy:
        answers |= {found.answer.question_id: found.answer for found in asked.work()}
    return answers


def question(sock: socket.socket, number: int = 1) -> Question:
    return Question(question_id=number, inode=inode_of(sock), uid=4242)


def holder(sock: socket.socket, *, uid: int = 4242, ready: int) -> int:
    """A forked process that keeps ``sock`` open until it is killed."""
    pid = os.fork()
    if pid == 0:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        prctl_set_dumpable(1)  # as after an exec
        os.write(ready, b".")
        os.read(os.pipe()[0], 1)
        os._exit(0)
    return pid


def held_by(count: int):
    """(socket, pids): a socket that ``count`` children hold and we do not."""
    read_end, write_end = os.pipe()
    sock = socket.socket()
    pids = [holder(sock, ready=write_end) for _ in range(count)]
    for _ in pids:
        os.read(read_end, 1)
    return sock, pids


def test_every_holder_is_named_with_its_executable_opened():
    def body():
        sock, pids = held_by(3)
        found = answered(Owners(), question(sock))
        encode_answer(found.answer)
        same = os.path.sameopenfile(found.descriptors[0], os.open("/proc/self/exe", os.O_RDONLY))
        return found.answer.outcome, {h.pid for h in found.answer.holders} == set(pids), same

    assert in_child(body) == (Outcome.FOUND, True, True)


def test_ancestors_are_the_programs_between_the_holder_and_us():
    def body():
        read_end, write_end = os.pipe()
        sock = socket.socket()
        os.set_inheritable(sock.fileno(), True)
        os.set_inheritable(write_end, True)
        script = f"""
import os, sys
if os.fork() == 0:
    os.write({write_end}, b"%d" % os.getpid()); os.read(os.pipe()[0], 1)
os.read(os.pipe()[0], 1)
"""
        middle = os.fork()
        if middle == 0:
            os.execv(sys.executable, [sys.executable, "-c", script])
        leaf = int(os.read(read_end, 20))
        found = answered(Owners(), question(sock)).answer
        chains = {h.pid: h.ancestors for h in found.holders}
        return len(chains), len(chains[leaf]), chains[middle]

    assert in_child(body) == (2, 1, ())


def test_a_socket_that_nobody_holds_has_vanished():
    def body():
        sock, pids = held_by(1)
        os.kill(pids[0], 9)
        os.waitpid(pids[0], 0)
        return answered(Owners(), question(sock)).answer.outcome

    assert in_child(body) is Outcome.VANISHED


# The first thread ends, another one goes on with the socket on descriptor 3, and says so on 4.
HIDING = """
import ctypes, os, threading
def stay():
    with open("/proc/self/stat") as file:
        while file.seek(0) or file.read().split()[2] != "Z": pass
    os.write(4, b"."); os.read(os.pipe()[0], 1)
threading.Thread(target=stay).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def hider(sock, ready):
    """A process of user 4242 whose ``/proc/PID`` shows nothing, and which holds ``sock``."""
    pid = os.fork()
    if pid == 0:
        os.setresuid(4242, 4242, 4242)
        os.dup2(sock.fileno(), 3)
        os.dup2(ready, 4)
        os.execv("/usr/bin/python3", ["/usr/bin/python3", "-c", HIDING])
    return pid


@pytest.mark.parametrize("workload", [None, (4242, 4242)], ids=["as root", "as the workload"])
def test_a_holder_whose_first_thread_has_ended_is_not_overlooked(workload):
    """attacks.md J6, J7: or an allowed program that shares the socket would vouch for it."""

    def body():
        sock, vouching = held_by(1)
        paired = answered(Owners(workload=workload), question(sock)).answer
        read_end, write_end = os.pipe()
        hider(sock, write_end)
        os.read(read_end, 1)
        hidden = answered(Owners(workload=workload), question(sock, 2)).answer
        return [holder.pid for holder in paired.holders] == vouching, hidden.outcome

    assert in_child(body) == (True, Outcome.UNREADABLE)


def test_a_process_of_ours_that_the_workload_cannot_read_is_no_obstacle():
    """As the init of the workload's process namespace: root's, and below the monitor."""

    def body():
        sock, pids = held_by(1)
        ready, write_end = os.pipe()
        if os.fork() == 0:
            sock.close()
            prctl.set_undumpable()
            os.write(write_end, b".")
            os.read(os.pipe()[0], 1)
        os.read(ready, 1)
        found = answered(Owners(workload=(4242, 4242)), question(sock)).answer
        return found.outcome, [holder.pid for holder in found.holders] == pids

    assert in_child(body) == (Outcome.FOUND, True)


def test_our_own_helpers_are_no_holders():
    def body():
        sock, pids = held_by(2)
        asked = Owners(ours=lambda: frozenset(pids[:1]))
        return [h.pid for h in answered(asked, question(sock)).answer.holders] == pids[1:]

    assert in_child(body)


def test_a_workload_process_that_cannot_be_read_makes_the_answer_unreadable():
    def body():
        sock, _ = held_by(1)
        stranger_ready, write_end = os.pipe()
        holder(sock, uid=4343, ready=write_end)
        os.read(stranger_ready, 1)
        # As an unprivileged monitor whose child runs under another uid.
        os.setresuid(4242, 4242, 4242)
        return answered(Owners(), question(sock)).answer.outcome

    assert in_child(body) is Outcome.UNREADABLE


def test_without_any_other_capability_the_workload_is_looked_into_as_itself():
    def body():
        sock, pids = held_by(1)
        prctl.keep_capabilities(capabilities.numbers(("SETUID", "SETGID")))
        blind = answered(Owners(), question(sock)).answer.outcome
        found = answered(Owners(workload=(4242, 4242)), question(sock, 2)).answer
        return blind, [holder.pid for holder in found.holders] == pids, os.geteuid()

    assert in_child(body) == (Outcome.UNREADABLE, True, 0)


def test_questions_that_wait_together_are_answered_each_by_its_own_holders():
    def body():
        first, first_pids = held_by(2)
        second, second_pids = held_by(1)
        nobody = socket.socket()
        asked = Owners()
        for number, sock in enumerate((first, second, nobody, first)):
            assert asked.ask(question(sock, number)) is None
        del nobody  # ours is not looked at anyhow
        answers = answers_of(asked)
        pids = {number: {h.pid for h in one.holders} for number, one in answers.items()}
        # The children of the second call inherited the first socket as well.
        both = {*first_pids, *second_pids}
        return pids == {0: both, 1: set(second_pids), 2: set(), 3: both}, answers[2].outcome

    assert in_child(body) == (True, Outcome.VANISHED)


def test_a_question_that_comes_during_a_search_waits_for_the_next():
    """A search looks at each process once, maybe before the socket of a later question was there."""

    def body():
        first, _ = held_by(1)
        later = []

        def begins():
            if not later:
                later.append(held_by(1))
                asked.ask(question(later[0][0], 2))
            return frozenset()

        asked = Owners(ours=begins)
        asked.ask(question(first, 1))
        answers = answers_of(asked)
        return [h.pid for h in answers[2].holders] == later[0][1], answers[1].outcome

    assert in_child(body) == (True, Outcome.FOUND)


def test_a_process_with_very_many_descriptors_costs_the_budget_not_the_monitor(monkeypatch):
    monkeypatch.setattr(owners, "BUDGET_S", 0.0)

    def body():
        sock, _ = held_by(1)
        for _ in range(3000):
            os.dup(0)
        return answered(Owners(), question(sock)).answer.outcome

    assert in_child(body) is Outcome.OVER_BUDGET


def test_more_questions_than_the_queue_holds_are_over_budget_at_once():
    sock = socket.socket()
    asked = Owners()
    for number in range(owners.QUEUED):
        assert asked.ask(question(sock, number)) is None

    refused = asked.ask(question(sock, 99))

    assert refused is not None
    assert refused.answer.outcome is Outcome.OVER_BUDGET
    sock.close()
