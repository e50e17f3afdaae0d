"""One file per command. Empty: only the chosen command is imported."""
