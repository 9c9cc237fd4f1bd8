"""Functions of one's own as peers: real processes, with faults in their way."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from signal import Signals
from types import TracebackType
from typing import Any, Self

from . import _client, _spawned, _stacks, _system, _travel
from ._errors import HarnessError, PeerError, PlanError
from ._eventlog import read_records
from ._files import NEMESIS_SUFFIX, ROOT_OUTPUT_FILE
from ._spawned import ready
from .faults import QUEUE, Fault
from .faults import to_json as fault_to_json
from .ledger import frame

DEFAULT_TIMEOUT_S = 60.0
_LONGEST_NAME = 240
_ITS_STACK = "its stack"
_TO_END_S = _TO_TELL_S = 10.0

__all__ = ["Peer", "ready", "spawn"]


def spawn(
    function: Callable[..., Any],
    *args: Any,
    name: str | None = None,
    faults: Sequence[Fault] = (),
    seed: int = 0,
    timeout_s: float | Callable[[], float] = DEFAULT_TIMEOUT_S,
    may_fail: bool = False,
    **kwargs: Any,
) -> Peer:
    """Run ``function(*args, **kwargs)`` in a process of its own, and return the handle to it: a context manager, at
    whose end nothing of it is left.

    The function travels by value, and so do its arguments: it may be defined in a test. It runs in a fork of a fresh
    interpreter, not of this process. It may call ``monkeywrench.harness.ready()``, which ``wait_ready`` waits for. The
    process ends with the function: threads that were not joined end then, and no ``atexit`` handler runs.

    name: what reports call it; the function's own name by default.
    faults: what befalls it; each names it as its peer. Triggers count its system calls, or go by the clock: nobody but
        the function knows what its messages are.
    seed: draws what is drawn.
    timeout_s: for how many seconds each wait waits, unless it is told otherwise; or what says so when a wait begins.
    may_fail: whether it is no trouble if the function ends by an error or an exit status; nor is it once ``result`` or
        a wait has raised that.

    Raises PlanError for a fault that cannot be, and for a function that cannot travel.
    """
    if not callable(function):
        raise PlanError(f"function={function!r}: what can be called is allowed, and runs in the peer")
    if isinstance(faults, Fault):
        raise PlanError(f"faults={faults!r}: a list of faults is allowed: faults=[…]")
    called = str(name or getattr(function, "__name__", "peer"))
    if not re.fullmatch(r"[\w.<>-]+", called):
        raise PlanError(f"name={called!r}: letters, digits, '-', '_' and '.' are allowed")
    if len(called.encode()) > _LONGEST_NAME:
        raise PlanError(f"name={called!r}: {_LONGEST_NAME} bytes at most are allowed: files are called by it")
    for fault in faults:
        _check(fault, called)
    return Peer(called, (function, args, kwargs), tuple(faults), seed, timeout_s, may_fail)


def _check(fault: Fault, name: str) -> None:
    if fault.peer == QUEUE:
        raise PlanError(f"{fault}: it befalls the queue of a trial, and a function has none that the harness knows of")
    if fault.peer != name:
        raise PlanError(f"{fault}: its peer is {fault.peer!r}, and this one is {name!r}")
    if fault.at.most_messages is not None or (fault.at.repeats and fault.at.call_kind is None):
        raise PlanError(
            f"{fault}: nobody but the function knows what its messages are; say which call (read(n), write(n), "
            "call(kind, n), every(n, kind)), or start(), elapsed(seconds), blocked()"
        )
    if fault.replaced:
        raise PlanError(f"{fault}, replaced: nobody but the test knows what a function has left to do; spawn another")
    if fault.needs_fifo:
        raise PlanError(f"{fault}: a function has no FIFO that the harness knows of; do it in the test")


class Peer:
    """A function of one's own that runs in a process of its own. ``spawn`` makes it.

    pid: of the process.
    exitcode: how it ended: its exit status, or the negative number of the signal that ended it; None while it runs.
    """

    def __init__(
        self,
        name: str,
        what: tuple[Any, Any, Any],
        faults: tuple[Fault, ...],
        seed: int,
        timeout_s: float | Callable[[], float],
        may_fail: bool,
    ) -> None:
        self.name = name
        self.pid = 0
        self.exitcode: int | None = None
        self._faults = faults
        self._timeout_s = timeout_s if callable(timeout_s) else lambda: timeout_s
        # Who talks on the channel: a thread that looks on while another one waits must not take its news away.
        self._talking = threading.RLock()
        self._is_ready = False
        self._is_blocked = False
        self._stack: list[dict[str, Any]] | None = None
        self._expected_end = may_fail
        # Of one that is closed, what its files said: its output, and what its faults noted.
        self._kept: tuple[str, list[dict[str, Any]]] | None = None
        data, large, places = _travel.parcel(*what)
        self._resources = contextlib.ExitStack()
        with contextlib.ExitStack() as resources:
            self._directory = resources.enter_context(_client.directory())
            (self._directory / _spawned.FUNCTION_FILE).write_bytes(data)
            settings = {"name": name, "seed": seed, "faults": [fault_to_json(fault) for fault in faults]}
            (self._directory / _spawned.SETTINGS_FILE).write_text(json.dumps(settings))
            self._ancestor = _client.ancestor()
            self._ancestor.prepare(large)
            channel = self._ancestor.start("spawn", self._directory, places)
            self._channel: socket.socket = resources.enter_context(channel)
            end = time.monotonic() + self._timeout_s()
            while not self.pid:
                self._take(self._receive(end, "its start"))
            resources.callback(self._keep)
            self._resources = resources.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what can be asked -------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        with self._talking:
            while self.exitcode is None and self._has_news():
                self._take(self._receive(time.monotonic(), "news"))
        return self.exitcode is None

    @property
    def output(self) -> str:
        """What it has written to its standard output and error so far, tracebacks and logging included."""
        return self._said[0]

    @property
    def struck(self) -> tuple[str, ...]:
        """What befell it, one sentence for each fault that struck."""
        return tuple(str(self._faults[note["fault"]]) for note in self._notes("strike"))

    @property
    def missed(self) -> tuple[str, ...]:
        """Which faults never struck, and why, as far as that is known; of use when it has ended."""
        struck = {note["fault"] for note in self._notes("strike")}
        why = {note["fault"]: f": {note['why']}" for note in self._notes("missed")}
        return tuple(
            f"{fault}: it never struck{why.get(index, '')}"
            for index, fault in enumerate(self._faults)
            if index not in struck
        )

    @property
    def trouble(self) -> str | None:
        """Why it did not end as it should, or None if it did, or was ended on purpose."""
        if self._expected_end:
            with contextlib.suppress(HarnessError):
                self.join(_TO_END_S)  # it was told to, and may be about to
        try:
            if self.running:
                return f"{self.name} (pid {self.pid}) still runs" + "".join(f"\n    {line}" for line in self.stack())
        except HarnessError as error:
            return f"nobody knows what became of {self.name} (pid {self.pid}): {error}"
        if self.exitcode and not self._expected_end and not any(self._faults[n["fault"]].final for n in self._strikes):
            return f"{self.name} ended by {self.ended_by}"
        return self.missed[0] if self.missed else None

    @property
    def ended_by(self) -> str:
        """How it ended, in words: by an exit status, or by a signal; of use when it has ended."""
        return _system.ended_by(self.exitcode)

    def stack(self) -> list[str]:
        """Return where its main thread is, innermost frame first; empty where it gives no sign of life."""
        if not self.running:
            return []
        self._stack = None
        self._do("stack")
        self._wait(lambda: self._stack is not None, _TO_TELL_S, _ITS_STACK)
        return [frame(place) for place in reversed(self._told_stack())]

    def seen_by_another_thread(self) -> str | None:
        """Return why it has not ended as it should, as ``trouble``; None also if the test waits for it just now."""
        if not self._talking.acquire(blocking=False):
            return None
        try:
            return self.trouble
        finally:
            self._talking.release()

    def _told_stack(self) -> list[dict[str, Any]]:
        return self._stack or []

    # -- waits -------------------------------------------------------------------------------------------------------

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Return when it has called ``ready()``.

        Raises PeerError if it ended before, HarnessError when the time is up, with where it is.
        """
        self._wait(lambda: self._is_ready, timeout_s, "its ready()")
        if not self._is_ready:
            raise self._error("before it was ready")

    def wait_blocked(self, timeout_s: float | None = None) -> None:
        """Return when it is seen blocked: asleep, twice, without having used the processor in between.

        Raises PeerError if it ended before, HarnessError when the time is up.
        """
        self._is_blocked = False
        self._do("blocked")
        self._wait(lambda: self._is_blocked, timeout_s, "being blocked")
        if not self._is_blocked:
            raise self._error("before it was blocked")

    def join(self, timeout_s: float | None = None) -> int:
        """Return its exit code when it has ended. Raises HarnessError when the time is up, with where it is."""
        self._wait(lambda: False, timeout_s, "its end")
        assert self.exitcode is not None
        return self.exitcode

    def result(self, timeout_s: float | None = None) -> Any:
        """Return what the function returned, when it has.

        Raises PeerError if it did not return, with its traceback; HarnessError when the time is up.
        """
        result = self._directory / _spawned.RESULT_FILE
        if self.join(timeout_s) != 0:
            raise self._error()
        if not result.exists():
            raise self._error("without having returned")
        return pickle.loads(result.read_bytes())

    # -- what can be done to it --------------------------------------------------------------------------------------

    def kill(self, signal: str = "SIGKILL") -> None:
        """Send it a signal, by its name, and return at once. Raises PlanError for a name that no signal has."""
        if signal not in Signals.__members__:
            raise PlanError(f"signal={signal!r}: a name is allowed: {', '.join(Signals.__members__)}")
        self._expected_end = True
        self._signal(Signals[signal])

    def pause(self) -> None:
        """Stop all of its threads, by SIGSTOP."""
        self._signal(Signals.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, by SIGCONT."""
        self._signal(Signals.SIGCONT)

    def close(self) -> None:
        """End it, if it still runs, and whatever it has started; return when nothing of it is left."""
        if self._kept is not None:
            return
        with self._resources, contextlib.suppress(HarnessError):
            # Or else its root is about to end, too, and may have something to do (coverage saves then).
            if self.running:
                self._expected_end = True
                self._ancestor.abort(self._directory)
            while True:
                self._take(self._receive(time.monotonic() + DEFAULT_TIMEOUT_S, "its end"))

    def _keep(self) -> None:
        """Remember what its files say: they go, as does what would tell how it ended."""
        self._kept = self._said
        if self.exitcode is None:
            self.exitcode = -Signals.SIGKILL  # as all that is left of it, by whoever ended its root

    # -- the channel -------------------------------------------------------------------------------------------------

    def _signal(self, number: Signals) -> None:
        if self.running:
            self._do("signal", number=int(number))

    def _do(self, what: str, **more: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has just ended: the next look says so
            self._channel.send(json.dumps({"do": what, **more}).encode())

    def _has_news(self) -> bool:
        return _client.is_readable(self._channel)

    def _receive(self, end: float, what: str) -> dict[str, Any]:
        news = self._ancestor.receive(self._channel, end, f"{what} ({self.name})")
        if news.get("status"):
            said = _stacks.tail(self._directory / ROOT_OUTPUT_FILE)
            raise HarnessError(f"the root of {self.name} ended by {_system.ended_by(news['status'])}. It said:\n{said}")
        return news

    def _take(self, news: dict[str, Any]) -> None:
        match news:
            case {"pid": pid}:
                self.pid = pid
            case {"ready": _}:
                self._is_ready = True
            case {"blocked": _}:
                self._is_blocked = True
            case {"stack": stack}:
                self._stack = stack
            case {"ended": code}:
                self.exitcode = code

    def _wait(self, there: Callable[[], bool], timeout_s: float | None, what: str) -> None:
        within_s: Any = self._timeout_s() if timeout_s is None else timeout_s
        if not isinstance(within_s, (int, float)) or not within_s >= 0:
            raise PlanError(f"timeout_s={within_s!r}: seconds from 0 are allowed, or None for those of its spawn")
        end = time.monotonic() + within_s
        with self._talking:
            while not there() and self.exitcode is None:
                try:
                    self._take(self._receive(end, what))
                except HarnessError as error:
                    if time.monotonic() < end or what == _ITS_STACK:
                        raise
                    where = ""
                    with contextlib.suppress(HarnessError):
                        where = "".join(f"\n    {line}" for line in self.stack())
                    stopped = " stopped, and resume() lets it go on" if _system.stopped(self.pid) else ""
                    where = f"{stopped}{where}" or " nowhere that it tells"
                    raise HarnessError(f"{error}, for {within_s:.1f} s; it is{where}") from None

    @property
    def _strikes(self) -> list[dict[str, Any]]:
        return self._notes("strike")

    def _notes(self, f: str) -> list[dict[str, Any]]:
        return [note for note in self._said[1] if note["f"] == f]

    @property
    def _said(self) -> tuple[str, list[dict[str, Any]]]:
        if self._kept is not None:
            return self._kept
        notes: list[dict[str, Any]] = []
        for path in sorted(self._directory.glob(f"*{NEMESIS_SUFFIX}")):
            notes += [json.loads(record.text) for record in read_records(str(path))]
        return _stacks.tail(self._directory / _spawned.OUTPUT_FILE), notes

    def _error(self, when: str = "") -> PeerError:
        self._expected_end = True  # whoever asked is told now, and need not be told again
        struck = "".join(f"\n  fault: {sentence}" for sentence in self.struck)
        output = "".join(f"\n  {line}" for line in self.output.splitlines())
        return PeerError(f"{self.name} ended by {self.ended_by}{' ' if when else ''}{when}{struck}{output}")
