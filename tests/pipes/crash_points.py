"""SIGKILL at every system call of somebody who opens a queue, uses and closes it: what that may cost, and no more.

A program of its own, for it forks a hundred times: a fork of a whole test run takes several times as long as one of
this. ``crash_points.py beside OPERATION PATH`` kills who opens the queue beside others, and ``crash_points.py alone
HISTORY PATH`` who is the only one: with short messages and long ones, before each call and after it. It prints at how
many places.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

from monkeywrench.pipes import ForeignBytesWarning, SimplePipeQueue, UndeliveredWarning, _fifo

PATIENCE_S = 30
MESSAGES = {"short": "short", "long": b"long" * 5000}
FEWEST, MOST = 10, 200
CALLS = {
    os: ("open", "read", "write", "close", "unlink", "fchmod", "fstat", "stat", "mkfifo", "listdir"),
    fcntl: ("flock", "fcntl", "ioctl"),
}


class Killer:
    """Counts the system calls of this process, and kills it before or after the one whose turn it is."""

    def __init__(self, turn: int, after: bool) -> None:
        self.count = 0
        for module, names in CALLS.items():
            for name in names:
                setattr(module, name, self._wrap(getattr(module, name), turn, after))

    def _wrap(self, real: Callable[..., Any], turn: int, after: bool) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            mine = self.count == turn
            if mine and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return real(*args, **kwargs)
            finally:
                if mine and after:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call


def was_killed(turn: int, after: bool, work: Callable[[], None]) -> bool:
    """Do *work* in a fork, and return whether it was killed at the call whose turn it is; there may be no such call."""
    assert turn <= MOST, f"no end after {MOST} calls"
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(PATIENCE_S)  # which ends it
            Killer(turn, after)
            work()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), f"at call {turn}: ended with {status}"
    return status != 0


def left(path: str) -> set[str]:
    return {name for name in os.listdir(os.path.dirname(path)) if not name.endswith("-lock")}


def beside(operation: str, message: object, after: bool, path: str) -> int:
    """G7: it costs at most the message of its call."""
    turn, killed = 0, True
    if _fifo.PORTABLE_VARIABLE in os.environ:
        # A reader killed between header and payload leaves the payload.
        warnings.simplefilter("ignore", ForeignBytesWarning)

    def work() -> None:
        mine = SimplePipeQueue(path)
        if operation == "put":
            mine.put(("mine", message))
        elif operation == "put_many":
            mine.put_many([("mine", message), ("mine", message)])
        else:
            mine.get()
        mine.close()

    while killed:
        turn += 1
        with SimplePipeQueue(path, history=False) as pq:
            pq.put(("first", message))
            killed = was_killed(turn, after, work)
            pq.put(("last", message))
            received: list[tuple[str, object]] = []
            while not received or received[-1][0] != "last":
                received.append(pq.get(PATIENCE_S))
            assert all(content == message for _, content in received), f"at call {turn}: not as it was put"
            names = [name for name, _ in received]
            if operation == "get":
                allowed = [["first", "last"], ["last"]]
            else:
                # Short ones share a packet, and are there or not together.
                most = 1 if operation == "put" else 2
                numbers = (0, most) if message == MESSAGES["short"] else range(most + 1)
                allowed = [["first", *["mine"] * number, "last"] for number in numbers]
            assert names in allowed, f"at call {turn}: {names}"
            assert pq.empty(), f"at call {turn}: more than was put"
        assert not left(path), f"at call {turn}: left {left(path)}"
    return turn - 1


def alone(history: str, message: object, after: bool, path: str) -> int:
    """G7 and G9: who makes the FIFO, puts, gets, and sweeps. The next one finds nothing that it does not sweep."""
    turn, killed = 0, True

    def work() -> None:
        warnings.simplefilter("ignore", UndeliveredWarning)
        mine = SimplePipeQueue.pipequeue(path, history=history == "history")
        mine.put(message)
        mine.put(message)
        assert mine.get() == message
        mine.close()

    while killed:
        turn += 1
        killed = was_killed(turn, after, work)
        with SimplePipeQueue(path) as pq:
            assert pq.empty(), f"at call {turn}: there is something"
            pq.put(message)
            assert pq.get(PATIENCE_S) == message, f"at call {turn}: not as it was put"
        assert left(path) == {"fifo"}, f"at call {turn}: left {left(path)}"
        os.unlink(path)
    return turn - 1


def main(who: str, how: str, path: str) -> int:
    kill = {"beside": beside, "alone": alone}[who]
    number = 0
    for length, message in MESSAGES.items():
        for after in (False, True):
            try:
                found = kill(how, message, after, path)
            except BaseException as error:
                error.add_note(f"{length} messages, SIGKILL {'after' if after else 'before'} the call")
                raise
            assert found > FEWEST, f"{found} calls cannot be all"
            number += found
    return number


if __name__ == "__main__":
    sys.stdout.write(f"{main(*sys.argv[1:])}\n")
