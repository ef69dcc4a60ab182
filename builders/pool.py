"""Worker processes that may hang or die: each task has a deadline, and a lost worker costs only its task.

`concurrent.futures` cannot kill one hung worker and go on with the rest, which is what speech engines need.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from demur.errors import DemurError

T = TypeVar("T")
Work = Callable[[T], Any]

FIRST_TASK_FACTOR = 5
"""The first task of a process may take so many times the limit: modules and models load then."""
AHEAD = 2
"""Tasks that a worker holds: the one in hand and the next."""


class WorkerLost(DemurError):
    """The worker hung or died while it had this task."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """A task and what it gave; `error` instead where it raised, hung or took its worker with it."""

    task: T
    result: Any = None
    error: Exception | None = None


@dataclass
class _Worker(Generic[T]):
    """A process with the task that it works on, and the next one, so that it never waits for the parent."""

    process: BaseProcess
    connection: "Connection[Any, Any]"
    timeout_s: float
    tasks: deque[T] = field(default_factory=deque)
    deadline: float = 0.0

    def give(self, task: T) -> None:
        self.tasks.append(task)
        with suppress(BrokenPipeError):  # it has died; what it holds is found out when its results are taken
            self.connection.send(task)
        if len(self.tasks) == 1:
            self.expect(self.timeout_s)

    def expect(self, within_s: float) -> None:
        self.deadline = time.monotonic() + within_s

    def take(self, *, arrived: bool) -> Done[T]:
        """The result of the task in hand, or what became of the worker."""
        task = self.tasks.popleft()
        self.expect(self.timeout_s)
        if arrived:
            try:
                result, error = self.connection.recv()
                return Done(task, result, error)
            except (EOFError, OSError):
                self.end()
                return Done(task, error=WorkerLost(f"its process ended with code {self.process.exitcode}"))
        self.process.kill()
        self.end()
        return Done(task, error=WorkerLost("it took too long and was stopped"))

    def end(self) -> None:
        self.process.join()
        self.connection.close()


def run_pool(tasks: Iterable[T], start: Callable[[], Work[T]], *, workers: int, timeout_s: float) -> Iterator[Done[T]]:
    """Results in the order in which they come, from `workers` processes.

    `start` is called once in each process and gives its work function; it and the tasks must be picklable (a
    `functools.partial` of a module's function is).
    """
    waiting = deque(tasks)
    pool: list[_Worker[T]] = []
    try:
        while waiting or pool:
            while waiting and len(pool) < workers:
                pool.append(_hire(start, timeout_s))
                pool[-1].give(waiting.popleft())
                pool[-1].expect(timeout_s * FIRST_TASK_FACTOR)
            for worker in pool:
                if waiting and len(worker.tasks) < AHEAD:
                    worker.give(waiting.popleft())
            yield from _collect(pool, waiting)
    finally:
        for worker in pool:
            worker.process.kill()
            worker.end()


def _hire(start: Callable[[], Work[T]], timeout_s: float) -> "_Worker[T]":
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, start), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, timeout_s)


def _collect(pool: "list[_Worker[T]]", waiting: "deque[T]") -> Iterator[Done[T]]:
    """Wait for any worker, take what it has, and dismiss it if it is lost or there is nothing more to do."""
    patience = max(0.0, min(worker.deadline for worker in pool) - time.monotonic())
    ready = wait([worker.connection for worker in pool], timeout=patience)
    for worker in list(pool):
        arrived = worker.connection in ready
        if not arrived and time.monotonic() < worker.deadline:
            continue
        done = worker.take(arrived=arrived)
        if isinstance(done.error, WorkerLost):
            waiting.extendleft(worker.tasks)  # what it had not begun
            pool.remove(worker)
        elif not worker.tasks and not waiting:
            worker.connection.close()
            pool.remove(worker)
        yield done


def _serve(connection: "Connection[Any, Any]", start: Callable[[], Work[T]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work: Work[T] | None = None
    while True:
        try:
            task = connection.recv()
        except EOFError:  # the parent is gone, or has no more work
            return
        try:
            work = work or start()
            reply: tuple[Any, Exception | None] = (work(task), None)
        except DemurError as error:
            reply = (None, error)
        except Exception as error:
            reply = (None, DemurError(f"{type(error).__name__}: {error}"))
        try:
            connection.send(reply)
        except BrokenPipeError:
            return


def _end_with_parent() -> None:
    """End at once when the parent is gone: its lock is free then, and nobody may write behind the next owner's back."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
