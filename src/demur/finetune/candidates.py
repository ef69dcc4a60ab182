"""Methods that train nothing: each way to apply one is a candidate, and the best on the validation part is kept."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from demur.finetune.capture import represent
from demur.finetune.methods import Job, Tuned
from demur.finetune.processes import first_alone
from demur.finetune.turns import instructed
from demur.finetune.validate import choose, validate

Applied = Callable[[], AbstractContextManager[None]]
"""Changes the model inside a block."""


def best_of(job: Job, candidates: Mapping[str, Applied]) -> tuple[str, Tuned]:
    """The name of the best candidate, by the rule of `validate`, and what it does; goes on after a kill."""
    done = {row["step"] for row in job.log.rows("validation")}
    if 0 not in done:
        validate(job, "base", 0)
    names = list(candidates)
    for step, name in enumerate(names, 1):
        if step not in done:
            with candidates[name]():
                validate(job, name, step)
    with first_alone():  # the first has written the last row when the others read it
        best = choose([row for row in job.log.rows("validation") if row["step"] > 0])
    name = names[best["step"] - 1]
    questions = [*job.split.train, *job.split.validation]
    with candidates[name]():
        after = represent(
            job.lalm,
            questions,
            lambda each: instructed(job.lalm, each),
            batch_size=job.options.batch_size,
            quiet=job.quiet,
        )
    return name, Tuned(best, after)
