"""``explain CODE``: what a reason code means and what helps."""

import argparse
import importlib
import json
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import supervisor
from supervisor.errors import Code, Refusal

UNKNOWN_CODE = Code(
    "cli.unknown-code",
    "The code is not one of this program's.",
    "Run 'sandbox-supervisor explain' without a code to list them all.",
)


def catalogue() -> dict[str, Code]:
    """Every code of every room, by name; raises ValueError where two rooms claim one name."""
    found: dict[str, Code] = {UNKNOWN_CODE.name: UNKNOWN_CODE}
    for module in code_modules():
        for value in vars(module).values():
            if isinstance(value, Code) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"two codes are named {value.name}")
    for code in policy_codes():
        if found.setdefault(code.name, code) is not code:
            raise ValueError(f"two codes are named {code.name}")
    return found


def policy_codes() -> Iterator[Code]:
    """The codes of decisions and of findings, and one for each feature that is not enforced.

    The policy imports nothing of the supervisor, so its codes are tuples of its own.
    """
    from policy import codes, document_codes
    from policy.enforced import not_enforced_code
    from policy.words import FEATURES

    for value in (*vars(codes).values(), *vars(document_codes).values()):
        if isinstance(value, codes.Code):
            yield Code(*value)
    yield from (Code(*not_enforced_code(feature)) for feature in sorted(FEATURES))


def code_modules() -> Iterator[ModuleType]:
    """The modules that declare codes: by convention ``codes`` or ``…_codes`` of a room."""
    for room in pkgutil.iter_modules(supervisor.__path__, "supervisor."):
        if room.ispkg:
            package = importlib.import_module(room.name)
            for module in pkgutil.iter_modules(package.__path__, f"{room.name}."):
                if module.name.endswith("codes"):
                    yield importlib.import_module(module.name)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("code", nargs="?", help="a reason code; without one, all are listed")
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Print one code, or all of them."""
    codes = catalogue()
    if arguments.code is None:
        wanted = [codes[name] for name in sorted(codes)]
    elif arguments.code in codes:
        wanted = [codes[arguments.code]]
    else:
        raise Refusal(UNKNOWN_CODE, f"there is no code {arguments.code!r}")
    if arguments.json:
        print(json.dumps([code._asdict() for code in wanted]))
    else:
        for code in wanted:
            print(f"{code.name}\n  meaning: {code.meaning}\n  remedy:  {code.remedy}")
    return 0
