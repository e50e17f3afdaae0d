"""Common to all layers: nightly selection, Hypothesis' effort, the outside of sandboxes, and 'a
skip in CI is a failure'.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no finding: nothing here has a deadline of its own (pytest's timeout ends what
# hangs). By day the examples are the same on every run, so that a red run is about the change; by
# night they are many and new.
COMMON = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("day", max_examples=60, derandomize=True, **COMMON)
settings.register_profile("night", max_examples=2000, print_blob=True, **COMMON)


def pytest_addoption(parser):
    parser.addoption("--nightly", action="store_true", help="run what is too long for CI, too")


def pytest_configure(config):
    settings.load_profile("night" if config.getoption("--nightly") else "day")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--nightly"):
        return
    kept = [item for item in items if item.get_closest_marker("nightly") is None]
    dropped = [item for item in items if item.get_closest_marker("nightly") is not None]
    items[:] = kept
    if dropped:
        config.hook.pytest_deselected(items=dropped)


@pytest.fixture(scope="module")
def upstreams():
    """What sandboxes may want to reach: one outside for each module that asks for it."""
    from support.upstreams import open_upstreams

    with open_upstreams() as made:
        yield made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, which is a failure: {report.longrepr}"
