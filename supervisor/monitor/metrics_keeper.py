"""The metrics socket: accept, ask the kernel who is there, hand the connection to the responder.

Nothing of a request is read here. While the responder is down, connections are closed.
"""

import contextlib
import socket
from collections.abc import Callable

from supervisor.events.log import Log
from supervisor.monitor import codes
from supervisor.monitor.channel_keeper import MESSAGES_PER_TURN, ChannelKeeper
from supervisor.monitor.loop import Loop
from supervisor.monitor.metrics_responder import ALIVE, Pages, respond
from supervisor.monitor.metrics_state import State, encode

ACCEPTS_PER_TURN = 16


class MetricsKeeper(ChannelKeeper):
    """The responder's keeper.

    ``listener`` is a bound and listening stream socket; ``pages`` are other processes' numbers;
    ``state`` says how things are now; ``may_ask`` whom to answer.
    """

    def __init__(
        self,
        *,
        listener: socket.socket,
        pages: Pages,
        uid: int | None,
        state: Callable[[], State],
        may_ask: Callable[[socket.socket], bool],
        loop: Loop,
        log: Log,
    ) -> None:
        super().__init__(
            name="responder",
            run=lambda channel: respond(uid=uid, channel=channel, pages=pages),
            on_message=self._on_message,
            crash_loop=codes.RESPONDER_CRASH_LOOP,
            loop=loop,
            log=log,
        )
        self._listener = listener
        self._state = state
        self._may_ask = may_ask

    def start(self) -> None:
        """Fork the responder; from now on connections are taken."""
        super().start()
        self._loop.watch(self._listener.fileno(), self._on_caller)

    def _on_caller(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                caller, _address = self._listener.accept()
            except OSError:
                return  # nobody is left, or it is gone again
            with caller:
                if self.channel is None or not self._may_ask(caller):
                    continue
                caller.setblocking(False)
                # A full channel: the responder has enough to do, and the caller asks again.
                with contextlib.suppress(OSError):
                    socket.send_fds(self.channel, [encode(self._state())], [caller.fileno()])

    def _on_message(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            packet = self.receive(len(ALIVE))
            if packet is None:
                return
            if packet != ALIVE:
                self.helper.broke_protocol(f"{len(packet)} bytes that are no sign of life")
                return
            self.helper.serves()
