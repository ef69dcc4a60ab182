"""The pool survives tasks that raise, hang, or take their process with them."""

import os
import time
from collections.abc import Callable

import pytest

from builders.pool import WorkerLost, run_pool
from demur.errors import DemurError, MissingDependency


def start() -> Callable[[str], str]:
    return do


def do(task: str) -> str:
    if task == "hang":
        time.sleep(600)
    if task == "die":
        os.kill(os.getpid(), 9)
    if task == "raise":
        raise ValueError("bad task")
    if task == "missing":
        raise MissingDependency("piper", extra="piper")
    return task.upper()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_gets_an_answer(workers: int) -> None:
    tasks = ["a", "raise", "b", "die", "c", "missing", "d"]
    found = {done.task: done for done in run_pool(tasks, start, workers=workers, timeout_s=60)}
    assert {task: found[task].result for task in "abcd"} == {"a": "A", "b": "B", "c": "C", "d": "D"}
    assert isinstance(found["die"].error, WorkerLost)
    assert "code -9" in str(found["die"].error)
    assert isinstance(found["missing"].error, MissingDependency)
    assert str(found["raise"].error) == "ValueError: bad task"


def test_a_task_that_hangs_is_stopped_and_the_others_go_on() -> None:
    found = {done.task: done.error for done in run_pool(["a", "hang", "b"], start, workers=1, timeout_s=1)}
    assert found["a"] is None
    assert found["b"] is None
    assert isinstance(found["hang"], WorkerLost)


def broken_start() -> Callable[[str], str]:
    raise DemurError("cannot start")


def test_a_process_that_cannot_start_says_why() -> None:
    errors = [str(done.error) for done in run_pool(["a", "b"], broken_start, workers=2, timeout_s=60)]
    assert errors == ["cannot start", "cannot start"]


def test_no_tasks_need_no_workers() -> None:
    assert list(run_pool([], start, workers=0, timeout_s=1)) == []
