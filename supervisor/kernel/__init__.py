"""One file per kernel facility; the only place with system calls and pyroute2. Empty: the launch path imports past it."""
