"""README repeats what the code decides; here it is made sure that it still does."""

import re
from pathlib import Path

from supervisor.cli.main import COMMANDS
from supervisor.identity import decide

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def between(text: str, start: str, end: str) -> str:
    return text.split(start, 1)[1].split(end, 1)[0].strip()


def test_the_identity_table_is_the_one_of_the_code():
    assert between(README, "<!-- identity -->", "<!-- end identity -->") == between(
        decide.__doc__, "<!-- table -->", "<!-- end -->"
    )


def test_every_command_that_is_named_exists():
    named = set(re.findall(r"sandbox-supervisor ([a-z-]+)", README)) - {"run"}

    assert named
    assert named <= set(COMMANDS) | {"is"}


def test_every_script_and_page_that_is_named_exists():
    root = Path(__file__).resolve().parents[2]
    named = set(re.findall(r"scripts/[a-z]+|images/[a-z]+/Containerfile|policy/README\.md", README))

    assert named
    assert not [path for path in sorted(named) if not (root / path).exists()]
