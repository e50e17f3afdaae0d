"""The workload's environment: an allow-list, built the same way for every launch. Pure.

Three sources, later ones win: what is listed here of the container's variables; what the operator
names with ``--env``; what belongs to the identity. Nothing of the supervisor's own gets through,
not even when it is asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Taken over from the container when it sets them: how programs find things and talk to people.
# No credential and nothing that loads code is on the list.
PASSED = frozenset(
    """PATH LANG LANGUAGE TZ TERM COLORTERM NO_COLOR FORCE_COLOR COLUMNS LINES EDITOR VISUAL PAGER
    HOSTNAME container JAVA_HOME GOPATH GOROOT CARGO_HOME RUSTUP_HOME NODE_VERSION PYTHON_VERSION
    VIRTUAL_ENV CONDA_PREFIX DEBIAN_FRONTEND CI""".split()
)
PASSED_PREFIXES = ("LC_",)
PROXY_VARIABLES = tuple("HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy".split())
NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")
# The supervisor's own inputs, and the reference's: never for the workload.
RESERVED_PREFIXES = ("SANDBOX_", "OPENSHELL_", "SUPERVISOR_", "@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The variables of one launch, and the names that stayed behind."""

    variables: dict[str, str]
    withheld: tuple[str, ...]  # in the container, neither listed nor asked for; names only


def build(
    container: Mapping[str, str],
    *,
    identity: Mapping[str, str],
    named: Iterable[str] = (),
    pass_all: bool = False,
    proxy_port: int | None = None,
) -> Environment:
    """Build the environment of a launch.

    ``identity`` holds HOME, USER, LOGNAME, SHELL. ``named`` are the operator's ``NAME`` (take the
    container's value, nothing if it has none) and ``NAME=VALUE``. ``pass_all`` takes over every
    variable of the container but the reserved ones: the operator trusts the image's ENV.
    ``proxy_port`` offers egress' explicit proxy to programs that want one; nothing needs it.
    """
    variables = {"PATH": DEFAULT_PATH}
    variables |= {
        name: value
        for name, value in container.items()
        if not is_reserved(name) and (pass_all or is_passed(name))
    }
    for word in named:
        name, equals, value = word.partition("=")
        if equals:
            variables[name] = value
        elif name in container:
            variables[name] = container[name]
    if proxy_port is not None:
        variables |= dict.fromkeys(PROXY_VARIABLES, f"http://127.0.0.1:{proxy_port}")
        variables |= dict.fromkeys(NO_PROXY_VARIABLES, "127.0.0.1,localhost,::1")
    variables |= identity
    withheld = [name for name in container if name not in variables and not is_reserved(name)]
    return Environment(variables=variables, withheld=tuple(sorted(withheld)))


def is_passed(name: str) -> bool:
    """True for a name that is taken over without being asked for."""
    return name in PASSED or name.startswith(PASSED_PREFIXES)


def is_reserved(name: str) -> bool:
    """True for a name that never reaches a workload."""
    return name.startswith(RESERVED_PREFIXES)


def unusable(word: str) -> str | None:
    """Why an operator's ``--env`` word cannot be used, or None."""
    name, _, value = word.partition("=")
    if not name or "\0" in word:
        return "a variable needs a name, and no NUL byte"
    if is_reserved(name):
        return f"{name} is the supervisor's own; names starting with it never reach the workload"
    if name == "PATH" and value and not all(part.startswith("/") for part in value.split(":")):
        return "PATH must hold absolute directories only"
    return None
