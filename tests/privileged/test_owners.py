"""The monitor's answer to "who holds this socket", on real processes."""

import os
import signal
import socket
import sys
import time
from itertools import islice

import pytest
from support.forked import in_child
from support.holders import (
    WORKLOAD,
    become_workload,
    held_by,
    holder,
    inode_of,
    question,
    start_waiting_server,
)

from supervisor.egress.owner_messages import Outcome, Question, encode_answer
from supervisor.kernel import capabilities, prctl
from supervisor.monitor import owners
from supervisor.monitor.owners import Owners


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """A busy machine must not turn an answer into "over budget"; one test sets its own."""
    monkeypatch.setattr(owners, "BUDGET_S", 30.0)


def answered(asked: Owners, question: Question):
    at_once = asked.ask(question)
    if at_once is not None:
        return at_once
    return worked(asked, until=lambda: False)


def worked(asked: Owners, *, until):
    """Work until there is an answer, or something happened; its descriptors are the caller's."""
    end = time.monotonic() + 10.0
    while time.monotonic() < end and not until():
        for found in asked.work():
            return found._replace(descriptors=tuple(map(os.dup, found.descriptors)))
    assert until(), "no answer"
    return None


def answers_of(asked: Owners):
    """Everything that waits, by its number."""
    answers = {}
    while asked.deadline() is not None:
        answers |= {found.answer.question_id: found.answer for found in asked.work()}
    return answers


def test_every_holder_is_named_with_its_executable_opened():
    def body():
        sock, pids = held_by(3)
        found = answered(Owners(), question(sock))
        encode_answer(found.answer)
        same = os.path.sameopenfile(found.descriptors[0], os.open("/proc/self/exe", os.O_RDONLY))
        return found.answer.outcome, {h.pid for h in found.answer.holders} == set(pids), same

    assert in_child(body) == (Outcome.FOUND, True, True)


def test_nothing_stays_open_where_the_answer_is_not_taken_to_its_end():
    def body():
        sock, _ = held_by(2)
        asked = Owners()
        asked.ask(question(sock))
        before = os.listdir("/proc/self/fd")
        while (found := next(answers := asked.work(), None)) is None:
            pass
        during = len(os.listdir("/proc/self/fd"))
        answers.close()
        return len(found.descriptors), during > len(before), os.listdir("/proc/self/fd") == before

    assert in_child(body) == (1, True, True)


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
    """A process of user WORKLOAD whose ``/proc/PID`` shows nothing, and which holds ``sock``."""
    pid = os.fork()
    if pid == 0:
        os.setresuid(WORKLOAD, WORKLOAD, WORKLOAD)
        os.dup2(sock.fileno(), 3)
        os.dup2(ready, 4)
        os.execv("/usr/bin/python3", ["/usr/bin/python3", "-c", HIDING])
    return pid


@pytest.mark.parametrize(
    "workload", [None, (WORKLOAD, WORKLOAD)], ids=["as root", "as the workload"]
)
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
        found = answered(Owners(workload=(WORKLOAD, WORKLOAD)), question(sock)).answer
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
        os.setresuid(WORKLOAD, WORKLOAD, WORKLOAD)
        return answered(Owners(), question(sock)).answer.outcome

    assert in_child(body) is Outcome.UNREADABLE


def test_a_launch_on_its_way_to_its_program_is_waited_for():
    """Between its change of user and exec nobody may look into it, and it has what it inherited."""

    def body():
        sock, pids = held_by(1)
        ready, write_end = os.pipe()
        go_on, waiting_end = os.pipe()
        launch = os.fork()
        if launch == 0:
            sock.close()
            os.setresuid(WORKLOAD, WORKLOAD, WORKLOAD)
            os.write(write_end, b".")
            os.read(go_on, 1)
            os.execv("/usr/bin/sleep", ["sleep", "60"])
        os.read(ready, 1)
        asked = Owners(workload=(WORKLOAD, WORKLOAD))
        assert asked.ask(question(sock)) is None
        first = worked(asked, until=lambda: asked.deadline() > time.monotonic())
        os.write(waiting_end, b".")
        while os.readlink(f"/proc/{launch}/exe") != os.path.realpath("/usr/bin/sleep"):
            pass
        answer = worked(asked, until=lambda: False).answer
        return first, answer.outcome, [holder.pid for holder in answer.holders] == pids

    assert in_child(body) == (None, Outcome.FOUND, True)


def connection_of_an_executing_process(*, inherits: bool):
    """(socket's inode, pid, pipe): written to, a process that holds it becomes /usr/bin/sleep."""
    ready, write_end = os.pipe()
    go_on, waiting_end = os.pipe()
    sock = socket.socket()
    inode = inode_of(sock)
    pid = os.fork()
    if pid == 0:
        sock.set_inheritable(inherits)
        become_workload()
        os.write(write_end, b".")
        os.read(go_on, 1)
        os.execv("/usr/bin/sleep", ["sleep", "60"])
    sock.close()
    os.read(ready, 1)
    return inode, pid, waiting_end


@pytest.mark.parametrize(
    ("inherits", "expected"),
    [(True, [b"/usr/bin/sleep"]), (False, [])],
    ids=["it passes the connection on", "it closes the connection"],
)
def test_a_connection_belongs_to_the_program_that_has_it_when_it_is_looked_at(inherits, expected):
    """Who executes another program gives it the connection, like any other descriptor."""

    def body():
        inode, pid, go_on = connection_of_an_executing_process(inherits=inherits)
        asked = Owners()
        before = answered(asked, Question(question_id=1, inode=inode, uid=WORKLOAD)).answer
        os.write(go_on, b".")
        while os.readlink(f"/proc/{pid}/exe") != "/usr/bin/sleep":
            pass
        after = answered(asked, Question(question_id=2, inode=inode, uid=WORKLOAD)).answer
        return before.executables, after.executables

    assert in_child(body) == ((os.fsencode(os.path.realpath(sys.executable)),), tuple(expected))


def test_a_program_that_does_not_have_the_connection_is_not_named_for_its_predecessor(monkeypatch):
    """It executes, and with that closes the connection, between the two looks at it."""
    look_at_programs = owners._holder

    def body():
        inode, pid, go_on = connection_of_an_executing_process(inherits=False)

        def after_exec(*arguments):
            os.write(go_on, b".")
            while os.readlink(f"/proc/{pid}/exe") != "/usr/bin/sleep":
                pass
            return look_at_programs(*arguments)

        monkeypatch.setattr(owners, "_holder", after_exec)
        return answered(Owners(), Question(question_id=1, inode=inode, uid=WORKLOAD)).answer

    answer = in_child(body)
    assert (answer.outcome, answer.executables) == (Outcome.VANISHED, ())


def test_a_program_and_its_path_are_of_one_moment(monkeypatch):
    """It executes another one after its program was opened: the path is still that of the file."""
    really_open = os.open

    def body():
        inode, pid, go_on = connection_of_an_executing_process(inherits=True)

        def then_execute(path, *arguments, **where):
            descriptor = really_open(path, *arguments, **where)
            if path == "exe":
                os.write(go_on, b".")
                while os.readlink(f"/proc/{pid}/exe") != "/usr/bin/sleep":
                    pass
            return descriptor

        monkeypatch.setattr(os, "open", then_execute)
        found = answered(Owners(), Question(question_id=1, inode=inode, uid=WORKLOAD))
        (path,), (descriptor,) = found.answer.executables, found.descriptors
        return os.path.samestat(os.stat(path), os.fstat(descriptor))

    assert in_child(body)


@pytest.mark.parametrize(
    ("moves", "expected"),
    [(1, (Outcome.FOUND, True)), (1000, (Outcome.UNREADABLE, False))],
    ids=["once", "each time that it is looked at"],
)
def test_a_holder_that_moves_its_descriptor_is_not_overlooked(monkeypatch, moves, expected):
    """It would leave the connection to another holder, which policy may allow."""

    def body():
        sock, still = held_by(1)
        asked_to, ask = os.pipe()
        done, tell = os.pipe()
        moving = os.fork()
        if moving == 0:
            become_workload()
            number = sock.fileno()
            os.write(tell, b".")
            while os.read(asked_to, 1):
                before, number = number, os.dup(number)
                os.close(before)
                os.write(tell, b".")
        os.read(done, 1)
        left = iter(range(moves))

        def move(_names):
            for _ in islice(left, 1):
                os.write(ask, b".")
                os.read(done, 1)

        change_listings_of(monkeypatch, moving, move)
        answer = answered(Owners(), question(sock)).answer
        return answer.outcome, {h.pid for h in answer.holders} == {*still, moving}

    assert in_child(body) == expected


def change_listings_of(monkeypatch, pid, change):
    really_list = os.listdir

    def listing(where):
        names = really_list(where)
        if isinstance(where, int) and os.readlink(f"/proc/self/fd/{where}") == f"/proc/{pid}/fd":
            change(names)
        return names

    monkeypatch.setattr(os, "listdir", listing)


def test_a_descriptor_that_two_listings_missed_is_noticed_by_their_number(monkeypatch):
    """A listing goes upwards; what moves down behind its back meanwhile is not in it."""

    def body():
        sock, pids = held_by(2)
        left = iter(range(2))
        number = str(sock.fileno())
        change_listings_of(
            monkeypatch, pids[0], lambda names: [names.remove(number) for _ in islice(left, 1)]
        )
        answer = answered(Owners(), question(sock)).answer
        return answer.outcome, {h.pid for h in answer.holders} == set(pids), list(left)

    assert in_child(body) == (Outcome.FOUND, True, [])


def test_a_server_that_waits_for_its_next_client_is_no_obstacle():
    """Its thread is in accept(2), which has reserved a number: the kernel counts it and shows none."""

    def body():
        is_waiting = start_waiting_server()  # first: it must not have the socket
        sock, pids = held_by(1)
        answer = answered(Owners(), question(sock)).answer
        return is_waiting, answer.outcome, [h.pid for h in answer.holders] == pids

    assert in_child(body) == (True, Outcome.FOUND, True)


def test_a_process_without_any_descriptor_is_no_obstacle():
    def body():
        sock, pids = held_by(1)
        ready, write_end = os.pipe()
        bare = os.fork()
        if bare == 0:
            become_workload()
            os.write(write_end, b".")
            os.closerange(0, 4096)
            signal.pause()
        os.read(ready, 1)
        while os.listdir(f"/proc/{bare}/fd"):
            pass
        answer = answered(Owners(), question(sock)).answer
        return answer.outcome, [h.pid for h in answer.holders] == pids

    assert in_child(body) == (Outcome.FOUND, True)


def test_without_any_other_capability_the_workload_is_looked_into_as_itself():
    def body():
        sock, pids = held_by(1)
        prctl.keep_capabilities(capabilities.numbers(("SETUID", "SETGID")))
        blind = answered(Owners(), question(sock)).answer.outcome
        found = answered(Owners(workload=(WORKLOAD, WORKLOAD)), question(sock, 2)).answer
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


def test_after_a_long_search_of_several_the_next_one_waits_for_more_questions(monkeypatch):
    monkeypatch.setattr(owners, "LONG_S", 0.0)

    def body():
        first, pids = held_by(1)
        asked = Owners()
        due = []
        for questions in (1, 2, 1):
            for number in range(questions):
                asked.ask(question(first, number))
            due.append(asked.deadline())
            answers = answers_of(asked)
        return due[:2] == [0.0, 0.0], due[2] > 0.0, [h.pid for h in answers[0].holders] == pids

    assert in_child(body) == (True, True, True)


def test_a_process_with_very_many_descriptors_costs_the_budget_not_the_monitor(monkeypatch):
    monkeypatch.setattr(owners, "BUDGET_S", 0.0)

    def body():
        sock, _ = held_by(1)
        ready, write_end = os.pipe()
        if os.fork() == 0:
            sock.close()
            for _ in range(900):  # more than a look at the clock apart
                os.dup(0)
            os.write(write_end, b".")
            os.read(os.pipe()[0], 1)
        os.read(ready, 1)
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
