"""The first Python code of the runtime: close the module path, then hand over.

``-I -S`` already kept the environment and site-packages out. The path is nevertheless set whole:
what stands here is all that can ever be imported.
"""

import sys

DIR = sys.executable.removesuffix("/bin/python3")
sys.path[:] = [
    f"{DIR}/lib/python3.11",
    f"{DIR}/lib/python3.11/lib-dynload",
    f"{DIR}/site",
    f"{DIR}/app",
]

from supervisor.cli.main import entry  # noqa: E402 - the path comes first

entry()
