"""Common to all layers: nightly selection, and 'a skip in CI is a failure'."""

import os

import pytest


def pytest_addoption(parser):
    parser.addoption("--nightly", action="store_true", help="run what is too long for CI, too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--nightly"):
        return
    kept = [item for item in items if item.get_closest_marker("nightly") is None]
    dropped = [item for item in items if item.get_closest_marker("nightly") is not None]
    items[:] = kept
    if dropped:
        config.hook.pytest_deselected(items=dropped)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, which is a failure: {report.longrepr}"
