"""A pool of workers: plans go in, results come out as they are ready.

The workers are threads, since all that a trial does it does in processes of its own. Whoever leaves the pool ends the
trials that run: within moments, and with nothing of them left.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from monkeywrench.harness import HarnessError, PlanError, runner
from monkeywrench.harness.adapters import Adapter, load
from monkeywrench.harness.plan import Plan

from ._result import Result

_JOIN_S = 60.0


class Todo(NamedTuple):
    """A trial that waits for its turn.

    scenario: the name of the scenario that it is of.
    plan: what is to be done.
    command: the line that runs it again.
    """

    scenario: str
    plan: Plan
    command: str


class Failed(NamedTuple):
    """A trial in which the harness itself, or the adapter, failed: it says nothing about the queue."""

    todo: Todo
    error: HarnessError


class _Stopped(BaseException):
    """Nobody waits for this trial any more."""


def default_jobs() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Runs trials, so many at a time, as long as the context lasts.

    todo: the trials; taken one by one, when a worker is free, so that it may be endless.
    jobs: how many run at a time.
    """

    def __init__(self, todo: Iterable[Todo], jobs: int) -> None:
        self._todo = iter(todo)
        self._taking = threading.Lock()
        self._stop = threading.Event()
        self._done: queue.SimpleQueue[Result | Failed | BaseException | None] = queue.SimpleQueue()
        self._adapters: dict[str, Adapter] = {}
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(jobs)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        end = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def results(self, tick_s: float | None = None) -> Iterator[Result | Failed | None]:
        """Yield what becomes of each trial, in whatever order, until all are done.

        tick_s: yield a ``None`` whenever nothing has come for so long.

        Raises what the iterable of trials raises.
        """
        working = len(self._threads)
        while working:
            try:
                found = self._done.get(timeout=tick_s)
            except queue.Empty:
                yield None
                continue
            if found is None:
                working -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                with self._taking:
                    todo = next(self._todo, None)
                    if todo is not None:
                        adapter = self._adapter(todo.plan.queue)
                if todo is None:
                    break
                self._done.put(self._run(todo, adapter))
        except _Stopped:
            pass
        except BaseException as error:  # it is for whoever reads the results
            self._done.put(error)
        finally:
            self._done.put(None)

    def _adapter(self, name: str) -> Adapter:
        if name not in self._adapters:
            self._adapters[name] = load(name)
        return self._adapters[name]

    def _run(self, todo: Todo, adapter: Adapter) -> Result | Failed:
        began = time.monotonic()
        verdict, reason = None, None
        try:
            runner.check_reach(todo.plan, adapter)
        except PlanError as error:
            reason = str(error)
        else:
            try:
                found = runner.run(todo.plan, progress=self._go_on).replayed_by(todo.command)
            except HarnessError as error:
                return Failed(todo, error)
            reason = found.not_applicable
            verdict = found if reason is None else None
        return Result(
            scenario=todo.scenario,
            plan=todo.plan,
            verdict=verdict,
            not_applicable=reason,
            seconds=time.monotonic() - began,
            command=todo.command,
        )

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise _Stopped


def without_events(result: Result) -> Result:
    """Return the result without its history's events: there may be thousands of results, of thousands of events."""
    verdict = result.verdict
    if verdict is None:
        return result
    history = dataclasses.replace(verdict.history, events=())
    return dataclasses.replace(result, verdict=dataclasses.replace(verdict, history=history))
