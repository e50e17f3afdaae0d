import json
import os

from supervisor.startup.termination import LINE_BYTES, write_termination_log


def test_the_cause_is_one_json_line(tmp_path):
    log = tmp_path / "termination-log"
    log.write_text("something older and longer than what follows" * 10)

    assert write_termination_log({"status": 125, "code": "x.y", "cause": "a\nb"}, path=str(log))

    assert log.read_text().count("\n") == 1
    assert json.loads(log.read_text()) == {"status": 125, "code": "x.y", "cause": "a\nb"}


def test_a_cause_that_is_too_long_still_leaves_status_and_code(tmp_path):
    log = tmp_path / "termination-log"
    log.touch()

    write_termination_log({"status": 125, "code": "x.y", "cause": "x" * LINE_BYTES}, path=str(log))

    assert json.loads(log.read_text()) == {"status": 125, "code": "x.y"}


def test_what_is_too_long_loses_the_report_before_the_cause(tmp_path):
    log = tmp_path / "termination-log"
    log.touch()
    fields = {"status": 1, "code": "x.y", "cause": "why"}

    write_termination_log({**fields, "containment": "x" * LINE_BYTES}, path=str(log))

    assert json.loads(log.read_text()) == fields


def test_no_log_a_symlink_and_a_fifo_are_left_alone(tmp_path):
    target = tmp_path / "target"
    target.write_text("kept")
    link = tmp_path / "link"
    link.symlink_to(target)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    for path in (tmp_path / "absent", link, fifo):
        assert not write_termination_log({"status": 1}, path=str(path))
    assert target.read_text() == "kept"
