import json
import os
import stat

import pytest

from policy.builtin import closed_policy
from policy.wire import to_wire
from supervisor.errors import Refusal
from supervisor.startup import codes
from supervisor.startup.policy import accept
from supervisor.startup.trusted_file import exposed, untrusted


def facts(mode=stat.S_IFREG | 0o644, uid=0):
    return os.stat_result((mode, 1, 1, 1, uid, 0, 10, 0, 0, 0))


def test_a_root_owned_regular_file_is_trusted():
    assert untrusted(facts()) is None


def test_a_file_that_others_own_or_may_write_is_not():
    assert "uid 1000" in untrusted(facts(uid=1000))
    assert "write" in untrusted(facts(mode=stat.S_IFREG | 0o664))
    assert "write" in untrusted(facts(mode=stat.S_IFREG | 0o646))


def test_a_fifo_or_device_is_not():
    assert "regular" in untrusted(facts(mode=stat.S_IFIFO | 0o644))
    assert "regular" in untrusted(facts(mode=stat.S_IFCHR | 0o644))


def test_a_secret_that_a_group_or_others_may_read_is_exposed():
    assert exposed(facts(mode=stat.S_IFREG | 0o400)) is None
    assert "0440" in exposed(facts(mode=stat.S_IFREG | 0o440))
    assert "0604" in exposed(facts(mode=stat.S_IFREG | 0o604))


def answer(**parts):
    wire = to_wire(closed_policy())
    return json.dumps({"policy": wire, "links": {}, "left": []} | parts).encode()


def test_what_the_loader_answers_reaches_egress_with_the_files_behind_links():
    links = {"/usr/bin/python3": "/usr/bin/python3.11"}
    loaded = accept(answer(links=links, left=["/a: not followed"]), "policy.yaml")
    assert json.loads(loaded.whole)["links"] == links
    assert loaded.notes == ("not followed: /a: not followed",)


@pytest.mark.parametrize(
    "parts",
    [{"links": {"/a": 1}}, {"links": []}, {"left": [1]}, {"left": "x"}, {"policy": ["Policy"]}],
)
def test_an_answer_of_another_form_is_refused(parts):
    with pytest.raises(Refusal) as refused:
        accept(answer(**parts), "policy.yaml")
    assert refused.value.code is codes.POLICY_LOADER
