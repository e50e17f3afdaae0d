"""The containers in which the network rows of the attack list run: one for each form."""

import pytest
from support.attacked import TABLE, Attacked
from support.forms import FORMS
from support.upstreams import Upstreams


@pytest.fixture(scope="session")
def rows_upstreams(tmp_path_factory):
    directory = tmp_path_factory.mktemp("upstreams")
    directory.chmod(0o755)
    made = Upstreams(directory)
    made.table.update(TABLE)
    yield made
    made.close()


@pytest.fixture(scope="session", params=FORMS, ids=lambda form: form.name)
def attacked(request, rows_upstreams, tmp_path_factory):
    return Attacked(request.param, rows_upstreams, tmp_path_factory.mktemp("attacked"))
