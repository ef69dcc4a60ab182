"""Worker processes that may hang or die: each task has a deadline, and a lost worker costs only its task.

`concurrent.futures` cannot kill one hung worker and go on with the rest, which is what speech engines need.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from demur.errors import DemurError

T = TypeVar("T")
Work = Callable[[T], Any]

FIRST_TASK_FACTOR = 5
"""The first task of a process may take so many times the limit: modules and models load then."""


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
    process: BaseProcess
    connection: "Connection[Any, Any]"
    task: T
    deadline: float

    def give(self, task: T, timeout_s: float) -> None:
        self.task, self.deadline = task, time.monotonic() + timeout_s
        self.connection.send(task)


def run_pool(tasks: Iterable[T], start: Callable[[], Work[T]], *, workers: int, timeout_s: float) -> Iterator[Done[T]]:
    """Results in the order in which they come, from `workers` processes.

    `start` is called once in each process and gives its work function; it and the tasks must be picklable (a
    `functools.partial` of a module's function is).
    """
    waiting = iter(tasks)
    pool: list[_Worker[T]] = []
    try:
        for task in waiting:
            pool.append(_hire(start, task, timeout_s))
            if len(pool) == workers:
                break
        while pool:
            yield from _collect(pool, waiting, start, timeout_s)
    finally:
        for worker in pool:
            worker.process.kill()
            worker.process.join()


def _hire(start: Callable[[], Work[T]], task: T, timeout_s: float) -> "_Worker[T]":
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, start), daemon=True)
    process.start()
    theirs.close()
    worker = _Worker(process, ours, task, 0.0)
    worker.give(task, timeout_s * FIRST_TASK_FACTOR)
    return worker


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


def _collect(
    pool: "list[_Worker[T]]", waiting: Iterator[T], start: Callable[[], Work[T]], timeout_s: float
) -> Iterator[Done[T]]:
    """Wait for any worker, take what it has, and give it the next task."""
    patience = max(0.0, min(worker.deadline for worker in pool) - time.monotonic())
    ready = wait([worker.connection for worker in pool], timeout=patience)
    for worker in list(pool):
        if worker.connection not in ready and time.monotonic() < worker.deadline:
            continue
        done = _take(worker, arrived=worker.connection in ready)
        following = next(waiting, None)
        if following is not None and not isinstance(done.error, WorkerLost):
            worker.give(following, timeout_s)
        else:
            pool.remove(worker)
            worker.connection.close()
            if following is not None:
                pool.append(_hire(start, following, timeout_s))
        yield done


def _take(worker: "_Worker[T]", *, arrived: bool) -> "Done[T]":
    if arrived:
        try:
            result, error = worker.connection.recv()
            return Done(worker.task, result, error)
        except (EOFError, OSError):
            worker.process.join()
            return Done(worker.task, error=WorkerLost(f"its process ended with code {worker.process.exitcode}"))
    worker.process.kill()
    worker.process.join()
    return Done(worker.task, error=WorkerLost("it took too long and was stopped"))
