"""The containers in which the network rows of the attack list run: one for each form.

By day each form of the fence; further ways to the form ``namespace`` by night.
"""

import pytest
from support.attacked import TABLE, Attacked
from support.forms import FORMS, SYS_ADMIN, UNPRIVILEGED
from support.upstreams import open_upstreams


@pytest.fixture(scope="session")
def rows_upstreams():
    with open_upstreams() as made:
        made.table.update(TABLE)
        yield made


NIGHTLY = (SYS_ADMIN, UNPRIVILEGED)


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(form, marks=[pytest.mark.nightly] if form in NIGHTLY else []) for form in FORMS
    ],
    ids=lambda form: form.name,
)
def attacked(request, rows_upstreams, tmp_path_factory):
    return Attacked(request.param, rows_upstreams, tmp_path_factory.mktemp("attacked"))
