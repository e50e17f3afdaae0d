import os
import stat

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
