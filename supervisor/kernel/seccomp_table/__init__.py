"""The seccomp filters as data: numbers, rules, roles. Assembled by ``supervisor.kernel.filters``."""
