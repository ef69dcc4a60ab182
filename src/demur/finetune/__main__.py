"""`demur finetune METHOD` and `python -m demur.finetune`: tune a model on a corpus."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from demur import plugins
from demur.console import run
from demur.errors import UsageError

EXAMPLES = """
Examples:

    demur finetune rrs --corpus tune --model demur-tiny --out adapters/rrs

    demur finetune rrs --corpus tune --model hf:Qwen/Qwen2-Audio-7B-Instruct --dtype bfloat16 --out adapters/rrs

    demur finetune sft --corpus tune --model hf:Qwen/Qwen2-Audio-7B-Instruct --epochs 5 --seed 1 --out adapters/sft-1

    demur respond --corpus test --model hf:Qwen/Qwen2-Audio-7B-Instruct --adapter adapters/rrs --out runs/rrs
"""


def make_app() -> typer.Typer:
    """A command for each registered method, whose flags are the fields of its options."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        help="Fine-tune a model: to refuse harmful requests, and to answer harmless ones.",
        epilog=EXAMPLES,
    )
    app.callback()(lambda: None)
    for name in plugins.names(plugins.METHODS):
        app.command(name, epilog=EXAMPLES)(_command(name))
    return app


def _main(
    corpus: Annotated[Path, typer.Option(help="A finished corpus with pairs, such as demur-core:tune spoken.")],
    model: Annotated[str, typer.Option(help="What to tune: `hf:REPO_OR_PATH`, or a registered name.")],
    out: Annotated[Path, typer.Option(help="Folder of the adapter, to make or to go on with.")],
    held_out: Annotated[
        list[Path],
        typer.Option(help="A corpus for tests: refused where it shares prompts with what is tuned on."),
    ] = [],  # noqa: B006 -- typer shows and copies it
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    device: Annotated[str, typer.Option(help="`cpu` or `cuda`; by default the GPU if there is one.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="Numbers of the frozen model: auto (as saved), float32, bfloat16. Adapters are float32.")
    ] = "auto",
    revision: Annotated[str | None, typer.Option(help="Of a Hub repository.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    download: Annotated[bool, typer.Option("--download", help="The model may be downloaded from its hub.")] = False,
    captures: Annotated[
        Path | None, typer.Option(help="Where representations are kept for later runs. Default: demur's cache.")
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Tune also on prompts that are kept for tests.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
    *,
    method: str,
    options: dict[str, Any],
) -> None:
    """What every command does; `method` and `options` are not flags."""
    from demur.corpus import Corpus
    from demur.finetune.processes import local_device, rank
    from demur.finetune.run import finetune
    from demur.models import make_model
    from demur.options import check_options

    checked = check_options(plugins.find(plugins.METHODS, method).Options, options, f"the method {method!r}")
    tuned, tested = Corpus(corpus), [Corpus(folder) for folder in held_out]  # before the model, which takes longer
    loading = {
        "device": local_device() if device == "auto" else device,
        "dtype": dtype,
        "revision": revision,
        "trust_remote_code": trust_remote_code,
        "download": download,
    }
    found = make_model(model, {name: value for name, value in loading.items() if value not in {"auto", None, False}})
    lalm = getattr(found, "lalm", None)
    if lalm is None:
        raise UsageError(f"--model {model}: only a model that runs here in transformers can be tuned: hf:REPO_OR_PATH")
    finetune(
        method,
        checked,
        tuned,
        lalm,
        out,
        seed=seed,
        base=model,
        held_out=tested,
        allow_overlap=allow_overlap,
        overwrite=overwrite,
        captures=captures,
        quiet=quiet,
    )
    if not quiet and rank() == 0:
        print(f"adapter: {out}; try it: demur respond --model {model} --adapter {out} --corpus TEST --out RUN")


def _command(name: str) -> Callable[..., None]:
    """The command of a method, with the signature that typer reads its flags from."""
    method = plugins.find(plugins.METHODS, name)
    fields: dict[str, FieldInfo] = method.Options.model_fields

    def command(**given: Any) -> None:
        options = {field: given.pop(field) for field in fields}
        _main(**given, method=name, options=options)

    shared = [each for each in inspect.signature(_main).parameters.values() if each.name not in {"method", "options"}]
    own = [_flag(field, info) for field, info in fields.items()]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*shared, *own)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = method.__doc__
    return command


def _flag(name: str, info: FieldInfo) -> inspect.Parameter:
    """An option of typer from a field: a tuple is an option that may be named several times."""
    kind: Any = info.annotation
    default = info.default
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        bare = get_args(element)[0] if get_origin(element) is Annotated else element  # typer takes no list of bounds
        kind, default = GenericAlias(list, (bare,)), list(default)
    annotation = Annotated[kind, typer.Option(help=info.description)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


if __name__ == "__main__":
    run(make_app())
