"""From facts to a running workload: facts → plan (pure data) → execute → report."""
