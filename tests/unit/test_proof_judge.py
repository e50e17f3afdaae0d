"""The judge of the proof: what counts as a surprise. Pure."""

import errno
from ipaddress import ip_address

import pytest

from supervisor.startup.proof.model import Probe, Sight
from supervisor.startup.proof.prove import RAISED, SUCCEEDED, judge

SIGHT = Sight(17, ip_address("203.0.113.1"), 443)
NO_SOCKET = frozenset({errno.ESOCKTNOSUPPORT})


def forbidden(**changes) -> Probe:
    stated = {"answers": frozenset({errno.EPERM}), **changes}
    return Probe(name="act", control="network", attempt=lambda: None, **stated)


def surprises(probe, answer, seen=()):
    return [what for _, what in judge([probe], [answer], frozenset(seen))]


def test_a_refusal_as_expected_is_no_surprise():
    assert surprises(forbidden(), errno.EPERM) == []


def test_a_forbidden_act_that_succeeds_is_a_surprise():
    assert surprises(forbidden(), SUCCEEDED) == ["succeeded"]


def test_another_refusal_than_the_defences_is_a_surprise():
    assert surprises(forbidden(), errno.EINVAL) == ["EINVAL instead of EPERM"]


def test_a_probe_that_breaks_is_a_surprise():
    assert surprises(forbidden(), RAISED) == ["the probe itself failed"]


def test_an_allowed_act_that_fails_is_a_surprise():
    allowed = forbidden(answers=frozenset())

    assert surprises(allowed, SUCCEEDED) == []
    assert surprises(allowed, errno.EACCES) == ["EACCES instead of success"]


def test_a_refused_packet_counts_only_if_the_fence_saw_it():
    probe = forbidden(sight=SIGHT)

    assert surprises(probe, errno.EPERM, seen=[SIGHT]) == []
    assert surprises(probe, errno.EPERM) == ["EPERM, but the fence did not see it"]
    assert surprises(probe, errno.EPERM, seen=[SIGHT._replace(port=444)]) != []


def test_a_packet_that_could_not_be_made_need_not_be_seen():
    answers = frozenset({errno.EPERM}) | NO_SOCKET
    probe = forbidden(answers=answers, sight=SIGHT, unsent=NO_SOCKET)

    assert surprises(probe, errno.ESOCKTNOSUPPORT) == []
    assert surprises(probe, errno.EPERM) != []


def test_an_answer_for_every_probe_is_demanded():
    judged = judge([forbidden(), forbidden()], [errno.EPERM], frozenset())

    with pytest.raises(ValueError, match="zip"):
        list(judged)
