"""Descriptors end with their test: namespaces held by one must not starve the next."""

import contextlib
import os

import pytest


@pytest.fixture(autouse=True)
def _descriptors_end_with_the_test():
    before = set(os.listdir("/proc/self/fd"))
    yield
    for name in set(os.listdir("/proc/self/fd")) - before:
        with contextlib.suppress(OSError):  # the listing's own
            os.close(int(name))
