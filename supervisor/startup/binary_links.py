"""The files behind the programs that a policy lists by a symbolic link.

The kernel says which file a process runs, never by which name it was found, and distributions list
``/usr/bin/python3`` where the file is ``python3.11``. Links are followed as for file rules: only
where nobody but root can have made them. Runs in the unprivileged child that loads the policy, in
the root that the workload will have.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

from policy.model import Policy
from supervisor.startup.trusted_path import ANY_GROUP, UntrustedLinkError, open_trusted


class BinaryLinks(NamedTuple):
    """``followed``: the file for each listed link; ``left``: why another one is taken as written."""

    followed: dict[str, str]
    left: tuple[str, ...]


def binary_links(policy: Policy) -> BinaryLinks:
    """Look at every listed program that is no pattern; one that is not there stays as it is."""
    return follow(
        binary.path.literal
        for entry in policy.network_policies
        for binary in entry.binaries
        if binary.path.literal is not None
    )


def follow(paths: Iterable[str]) -> BinaryLinks:
    """The files behind ``paths``."""
    followed, left = {}, []
    for path in sorted(set(paths)):
        try:
            located = open_trusted(path, ANY_GROUP)
        except UntrustedLinkError as error:
            left.append(f"{path}: the link {error.filename} is {error.strerror}")
        except FileNotFoundError:
            continue  # a policy may list programs of several images
        except OSError as error:
            left.append(f"{path}: {error.strerror}")
        else:
            os.close(located.descriptor)
            if located.path != path:
                followed[path] = located.path
    return BinaryLinks(followed, tuple(left))
