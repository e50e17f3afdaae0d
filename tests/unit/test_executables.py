import hashlib
import os

from supervisor.egress import executables
from supervisor.egress.executables import Digests, FileIdentity, digest_of, identify


def test_a_digest_is_that_of_the_bytes_wherever_the_offset_stands(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"x" * (3 << 20))
    with program.open("rb") as file:
        file.seek(5)
        assert digest_of(file.fileno()) == hashlib.sha256(program.read_bytes()).hexdigest()


def test_new_bytes_are_a_new_identity_even_with_the_old_times(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"one")
    with program.open("rb") as file:
        before = identify(file.fileno())
        status = os.stat(program)
        program.write_bytes(b"two")
        os.utime(program, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert identify(file.fileno()) != before


def test_the_first_program_at_a_path_stays_the_only_one():
    digests = Digests()
    assert digests.is_first_or_same(b"/bin/a", "11")
    assert digests.is_first_or_same(b"/bin/a", "11")
    assert not digests.is_first_or_same(b"/bin/a", "22")
    assert digests.is_first_or_same(b"/bin/b", "22")


def test_both_memories_are_bounded_and_neither_forgets_in_favour_of_an_attacker(monkeypatch):
    monkeypatch.setattr(executables, "REMEMBERED", 2)
    digests = Digests()
    one, two, three = (FileIdentity(1, n, 1, 1, 1) for n in (1, 2, 3))
    for identity in (one, two, three):
        digests.remember(identity, "aa")
    assert digests.known(one) is None
    assert digests.known(three) == "aa"
    assert digests.is_first_or_same(b"/a", "1")
    assert digests.is_first_or_same(b"/b", "2")
    assert not digests.is_first_or_same(b"/c", "3")
    assert not digests.is_first_or_same(b"/a", "9")
