"""Which variables may say who the workload is (process.md 1.3, 2.1; attacks.md L15)."""

import pytest
from support.identities import inputs

from supervisor.errors import Refusal
from supervisor.identity.inputs import (
    Given,
    IdentityInputs,
    inputs_from_environment,
    with_arguments,
)


def test_an_empty_environment_gives_nothing() -> None:
    assert inputs_from_environment({"PATH": "/bin", "UID": "7"}) == IdentityInputs()


@pytest.mark.parametrize(
    ("name", "alias"),
    [("SANDBOX_UID", "OPENSHELL_SANDBOX_UID"), ("SANDBOX_GID", "OPENSHELL_SANDBOX_GID")],
)
class TestIds:
    def read(self, **variables: str) -> Given | None:
        request = inputs_from_environment(variables).environment
        return request.uid or request.gid

    def test_our_name_and_the_alias_are_read(self, name: str, alias: str) -> None:
        assert self.read(**{name: "1000"}) == Given("1000", name)
        assert self.read(**{alias: "1000"}) == Given("1000", alias)

    def test_both_the_same_is_once_the_same(self, name: str, alias: str) -> None:
        assert self.read(**{name: "1000", alias: "1000"}) == Given("1000", name)

    def test_both_and_different_is_a_conflict(self, name: str, alias: str) -> None:
        with pytest.raises(Refusal) as caught:
            self.read(**{name: "1000", alias: "01000"})
        assert caught.value.code.name == "identity.conflict"
        assert name in caught.value.cause
        assert alias in caught.value.cause

    def test_a_blank_alias_is_absent_and_a_blank_of_our_own_is_not(
        self, name: str, alias: str
    ) -> None:
        assert self.read(**{alias: ""}) is None
        assert self.read(**{name: "1000", alias: ""}) == Given("1000", name)
        assert self.read(**{name: ""}) == Given("", name)


def test_an_empty_image_user_says_that_the_image_declares_nobody() -> None:
    for name in ("SANDBOX_IMAGE_USER", "OPENSHELL_OCI_IMAGE_USER"):
        assert inputs_from_environment({name: ""}).image_user == Given("", name)


def test_an_image_user_that_differs_from_its_alias_is_a_conflict() -> None:
    with pytest.raises(Refusal) as caught:
        inputs_from_environment({"SANDBOX_IMAGE_USER": "app", "OPENSHELL_OCI_IMAGE_USER": ""})
    assert caught.value.code.name == "identity.conflict"


def test_the_command_line_is_added_under_its_own_names() -> None:
    process = inputs().process
    merged = with_arguments(IdentityInputs(), uid="1", gid="2", groups="", process=process)
    assert merged == inputs(argv=("1", "2", ""))
