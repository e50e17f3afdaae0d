"""What the fence is called in the kernel. Light: whoever watches a fence imports it."""

TABLE = "sandbox_supervisor"
# Ours to name: groups are per network namespace. Not 0 to 10, which other programs' examples use.
NFLOG_GROUP = 61

# Comments of the rules that refuse, and the prefixes of what they log; counters are read by them.
BLOCKED_OUT = "blocked out"
BLOCKED_IN = "blocked in"
BLOCKED_WIRE = "blocked wire"
