"""The variables that tell a program who it is."""

from supervisor.identity.decide import Identity


def identity_environment(identity: Identity) -> dict[str, str]:
    """HOME, USER, LOGNAME and SHELL, as environ(7) and POSIX name them."""
    return {
        "HOME": identity.home,
        "USER": identity.user,
        "LOGNAME": identity.user,
        "SHELL": identity.shell,
    }
