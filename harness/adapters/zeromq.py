"""ZeroMQ over ``ipc://``: the bare PUSH and PULL, and a broker as one builds it when these are not enough."""

from __future__ import annotations

import multiprocessing
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import zmq

from ..guarantees import Guarantees
from ._adapter import Adapter


class PushPullAdapter(Adapter):
    """PUSH and PULL: the consumer binds the path, producers connect to it.

    Messages are handed out before they are asked for: what the library has fetched for a consumer, and the consumer
    has not got, is gone when that closes its socket, in good order or not. There is no handing on to the next one.
    """

    guarantees = Guarantees(
        order="per-producer",
        killed_producer_may_cost=None,
        killed_consumer_may_cost=None,
        most_consumers=1,
        any_pace=False,
        gate=(),
    )

    def make(self, directory: Path) -> None:
        """Choose the path."""
        self._path = directory / "pull.socket"

    def open(self, role: str) -> Any:
        """Return a socket. A consumer binds the path when it needs it: the last one to bind has it."""
        socket = zmq.Context().socket(zmq.PUSH if role == "producer" else zmq.PULL)
        if role == "producer":
            socket.connect(f"ipc://{self._path}")
        return socket

    def put(self, end: Any, message: Any) -> None:
        """Hand one message to the library, whose thread sends it."""
        end.send_pyobj(message)

    def get(self, end: Any) -> Any:
        """Return one message."""
        if not end.get(zmq.LAST_ENDPOINT):
            end.bind(f"ipc://{self._path}")
        return end.recv_pyobj()

    def close(self, end: Any) -> None:
        """Close this peer's socket; a producer's, when all has been sent."""
        end.close()
        end.context.term()

    def destroy(self) -> None:
        """Remove the path, which a killed consumer leaves behind."""
        self._path.unlink(missing_ok=True)


class BrokerAdapter(Adapter):
    """A broker process with a ROUTER, asked by every peer with a REQ: to keep a message, or for the next one.

    What was put is the broker's, and a message goes to whoever asked first and still lives.
    """

    guarantees = Guarantees(gate=())

    def make(self, directory: Path) -> None:
        """Start the broker. Returns when it can be asked."""
        self._path = directory / "broker.socket"
        context = multiprocessing.get_context("fork")
        ready, tell = context.Pipe(duplex=False)
        self._broker = context.Process(target=_serve, args=(f"ipc://{self._path}", tell), daemon=True)
        self._broker.start()
        tell.close()
        with ready:
            ready.recv()

    def open(self, role: str) -> Any:
        """Connect to the broker."""
        socket = zmq.Context().socket(zmq.REQ)
        socket.connect(f"ipc://{self._path}")
        return socket

    def put(self, end: Any, message: Any) -> None:
        """Have the broker keep one message."""
        end.send_pyobj(message)
        end.recv()

    def get(self, end: Any) -> Any:
        """Ask the broker for one message, and wait for it."""
        end.send(b"")
        return end.recv_pyobj()

    def close(self, end: Any) -> None:
        """Close this peer's socket."""
        end.close()
        end.context.term()

    def destroy(self) -> None:
        """End the broker."""
        self._broker.kill()
        self._broker.join()
        self._broker.close()
        self._path.unlink(missing_ok=True)


def _serve(address: str, ready: Connection) -> None:
    """Keep what is put, and hand it out in order, for ever."""
    router = zmq.Context().socket(zmq.ROUTER)
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # who asked and was killed is not sent to in silence
    router.bind(address)
    ready.send(True)
    ready.close()
    kept: deque[bytes] = deque()
    asking: deque[list[bytes]] = deque()
    while True:
        *route, said = router.recv_multipart()
        if said:
            kept.append(said)
            _answer(router, route, b"")
        else:
            asking.append(route)
        while kept and asking:
            if _answer(router, asking.popleft(), kept[0]):
                kept.popleft()


def _answer(router: Any, route: list[bytes], message: bytes) -> bool:
    """Answer whoever asked; return whether they are still there."""
    try:
        router.send_multipart([*route, message])
    except zmq.ZMQError as error:
        if error.errno != zmq.EHOSTUNREACH:
            raise
        return False
    return True
