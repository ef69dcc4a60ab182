"""Several processes of one run, as `torchrun` and `accelerate launch` start them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def rank() -> int:
    """Number of this process; 0 is the one that writes."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_device() -> str:
    """The device of this process: each has a GPU of its own."""
    import torch

    if count() == 1 or not torch.cuda.is_available():
        return "auto"
    number = int(os.environ.get("LOCAL_RANK", "0"))
    torch.cuda.set_device(number)
    return f"cuda:{number}"


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes through the block while the others wait; they follow, and find what it has written."""
    if count() == 1:
        yield
        return
    import torch
    from accelerate import PartialState

    with PartialState(cpu=not torch.cuda.is_available()).main_process_first():
        yield


def share_out(items: Sequence[T]) -> list[T]:
    """What this process does of some items."""
    return list(items[rank() :: count()])


def gather(items: list[T]) -> list[T]:
    """What all processes found, in every one of them."""
    if count() == 1:
        return items
    from accelerate.utils import gather_object

    gathered: list[T] = gather_object(items)
    return gathered
