import asyncio
import json
import logging

import pytest

from supervisor.egress.faults import Faults
from supervisor.events.line import line_of
from supervisor.events.record import Stamp, record_of


@pytest.fixture
def faults():
    told = []
    handler = Faults("egress", told.append)
    handler.told = told
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    handler.listen()
    yield handler
    root.handlers[:], _ = before
    root.setLevel(before[1])


def fail(key):
    return {}[key]


def end(password):
    raise RuntimeError("two\nlines") from ValueError(len(password))


def test_what_a_library_logs_is_an_event(faults):
    logging.getLogger("asyncio").warning("socket.send() raised %s", "BrokenPipeError")
    logging.getLogger("asyncio").info("not worth a record")

    (event,) = faults.told
    assert (event.process, event.kind) == ("egress", "log")
    assert event.why.code == "process.library-warning"
    assert event.why.cause == "socket.send() raised BrokenPipeError"


def test_the_error_that_ends_the_process_is_one_record_with_its_place_and_without_variables(faults):
    try:
        fail("absent")
    except KeyError:
        logging.getLogger("asyncio").exception("task failed")
    try:
        end("CANARY-local")
    except RuntimeError as error:
        faults.tell(error)

    first, second = faults.told
    assert first.kind == "KeyError"
    assert first.trace[-1].endswith(" fail")
    assert second.why.code == "process.internal-error"
    assert second.why.cause == "the process ends: RuntimeError: two\nlines"
    record = record_of(second, Stamp("egress", 1, 0, "pod-1"))
    assert "CANARY" not in json.dumps(record)
    assert "\n" not in line_of(record)


def test_a_recursion_without_end_is_bounded(faults):
    def again():
        again()

    try:
        again()
    except RecursionError as error:
        faults.tell(error)

    assert len(faults.told[0].trace) <= 20


def test_of_a_group_the_tasks_own_error_is_told(faults):
    async def main():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(task())

    async def task():
        fail("absent")

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    faults.tell(caught.value)

    assert faults.told[-1].kind == "KeyError"
    assert faults.told[-1].trace[-1].endswith(" fail")
