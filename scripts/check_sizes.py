"""Modules of at most 500 lines, functions of at most 60: what one can read in one go."""

import ast
import sys
from pathlib import Path

MODULE_LINES = 500
FUNCTION_LINES = 60


def main() -> int:
    found = []
    for root in ("supervisor", "policy", "tests", "scripts", "images"):
        for path in sorted(Path(root).rglob("*.py")):
            text = path.read_text()
            lines = text.count("\n")
            if lines > MODULE_LINES:
                found.append(f"{path}: {lines} lines, at most {MODULE_LINES}")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    size = (node.end_lineno or node.lineno) - node.lineno + 1
                    if size > FUNCTION_LINES:
                        found.append(f"{path}:{node.lineno}: {node.name} has {size} lines")
    print("\n".join(found) if found else "sizes: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
