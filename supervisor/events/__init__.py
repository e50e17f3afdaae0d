"""What happened, for operators: one record per line, JSON or readable."""
