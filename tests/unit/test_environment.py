from hypothesis import given
from hypothesis import strategies as st

from supervisor.monitor.environment import DEFAULT_PATH, build, is_reserved, unusable

IDENTITY = {"HOME": "/sandbox", "USER": "4242", "LOGNAME": "4242", "SHELL": "/bin/sh"}


def test_only_listed_variables_come_through_and_the_rest_is_named():
    made = build(
        {"LANG": "C", "LC_ALL": "C", "LD_PRELOAD": "/evil.so", "KEY": "s"}, identity=IDENTITY
    )

    assert made.variables == {"PATH": DEFAULT_PATH, "LANG": "C", "LC_ALL": "C", **IDENTITY}
    assert made.withheld == ("KEY", "LD_PRELOAD")


def test_the_images_home_and_user_do_not_beat_the_identity():
    made = build({"HOME": "/root", "USER": "root"}, identity=IDENTITY, pass_all=True)

    assert made.variables["HOME"] == "/sandbox"
    assert made.variables["USER"] == "4242"


def test_the_proxy_is_offered_only_when_asked_for():
    plain = build({"HTTP_PROXY": "http://baked:1"}, identity=IDENTITY)
    offered = build({}, identity=IDENTITY, proxy_port=61080)

    assert "HTTP_PROXY" not in plain.variables
    assert offered.variables["https_proxy"] == "http://127.0.0.1:61080"
    assert "localhost" in offered.variables["NO_PROXY"]


def test_the_operator_may_name_a_variable_or_set_one():
    made = build({"KEY": "s"}, identity=IDENTITY, named=["KEY", "MODE=x=y", "ABSENT"])

    assert made.variables["KEY"] == "s"
    assert made.variables["MODE"] == "x=y"
    assert "ABSENT" not in made.variables


@given(st.dictionaries(st.text(min_size=1), st.text()), st.booleans())
def test_nothing_of_the_supervisors_own_ever_reaches_the_workload(container, pass_all):
    container |= {"SANDBOX_UID": "1", "OPENSHELL_ENDPOINT": "x", "SUPERVISOR_LAUNCHED": "1"}

    made = build(container, identity=IDENTITY, pass_all=pass_all)

    assert not [name for name in made.variables if is_reserved(name)]


def test_reserved_and_nameless_words_are_refused():
    assert unusable("SANDBOX_UID=0")
    assert unusable("=x")
    assert unusable("PATH=bin")
    assert unusable("A=b") is None
