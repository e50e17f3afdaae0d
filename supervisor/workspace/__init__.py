"""Which files become the workload's: planned as data, then done descriptor by descriptor."""
