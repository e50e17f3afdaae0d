"""The proof: what is forbidden is tried before the workload runs. Empty of code on purpose."""
