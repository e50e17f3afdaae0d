"""pyroute2's message classes without the rest of pyroute2.

Importing the package proper runs its ``__init__``, which imports every socket class it has:
asyncio, ssl, multiprocessing, psutil; 180 ms and 30 MiB. The message classes need none of it. So
the package is put in place unexecuted, with its socket base classes left empty, the wanted
modules are imported, and both stand-ins are taken away again: 25 ms and 5 MiB. A later
``import pyroute2`` in the same process gets the real package.
"""

import importlib
import sys
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

# A message or attribute class or object of pyroute2, which has no types of its own.
Message = Any

PACKAGE = "pyroute2"
SOCKETS = "pyroute2.netlink.nlsocket"


def _import_bare(*names: str) -> tuple[ModuleType, ...]:
    """Import modules of pyroute2 without its ``__init__``; raises ImportError if there is none."""
    if PACKAGE in sys.modules:  # the whole package was paid for already
        return tuple(importlib.import_module(name) for name in names)
    spec = PathFinder.find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("pyroute2 is not installed", name=PACKAGE)
    package = ModuleType(PACKAGE)
    package.__path__ = list(spec.submodule_search_locations)
    sockets = ModuleType(SOCKETS)
    vars(sockets).update(NetlinkSocket=object, AsyncNetlinkSocket=object)
    sys.modules.update({PACKAGE: package, SOCKETS: sockets})
    try:
        return tuple(importlib.import_module(name) for name in names)
    finally:
        del sys.modules[PACKAGE], sys.modules[SOCKETS]


nftsocket: Message
rtmsg: Message
ifaddrmsg: Message
netlink: Message
nftsocket, rtmsg, ifaddrmsg, netlink = _import_bare(
    "pyroute2.netlink.nfnetlink.nftsocket",
    "pyroute2.netlink.rtnl.rtmsg",
    "pyroute2.netlink.rtnl.ifaddrmsg",
    "pyroute2.netlink",
)


def link_messages() -> ModuleType:
    """The link messages, apart because their attribute tables cost another 8 ms."""
    return _import_bare("pyroute2.netlink.rtnl.ifinfmsg")[0]
