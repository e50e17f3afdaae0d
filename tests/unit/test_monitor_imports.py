"""What the process that holds the privileges never loads: its memory, its start, its surface."""

import subprocess
import sys

HEAVY = ("asyncio", "logging", "pydantic", "pyroute2", "ruamel", "ssl", "structlog", "subprocess")
ACT = """
import sys
from supervisor.events.log import Log
from supervisor.events.vocabulary import HelperReady
import supervisor.startup.run, supervisor.startup.sidecar, supervisor.startup.network_only
import supervisor.startup.metrics
for form in ("json", "text"):
    Log(format=form).emit(HelperReady(helper="egress", pid=1))
print(sorted(set(sys.argv[1:]) & {name.partition(".")[0] for name in sys.modules}))
"""


def test_a_monitor_that_has_said_something_has_loaded_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", ACT, *HEAVY], capture_output=True, text=True)

    assert done.stderr.count("helper.ready") == 2, done.stderr
    assert done.stdout == "[]\n"
