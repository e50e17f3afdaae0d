"""The sidecar's sign of life."""

import os
import time

import pytest

from supervisor.sidecar.beacon import Beacon, read_beacon


def test_a_beacon_says_whether_it_serves_and_when_it_said_so(tmp_path):
    (tmp_path / "control").mkdir()
    beacon = Beacon(os.open(tmp_path / "control", os.O_RDONLY))
    with pytest.raises(ValueError, match="not said anything"):
        read_beacon(str(tmp_path))

    beacon.on_time(time.monotonic() - 50.0)
    serving, age_s = read_beacon(str(tmp_path))
    assert not serving
    assert 50.0 <= age_s < 60.0

    beacon.serving()
    assert beacon.deadline() == 0.0
    beacon.on_time(time.monotonic())
    assert read_beacon(str(tmp_path))[0] is True
