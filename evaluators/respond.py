"""`demur respond` and `python -m evaluators.respond`: a model answers every sample of a corpus."""

from pathlib import Path
from typing import Annotated

import typer

from demur import plugins
from demur.console import run
from demur.corpus import Corpus
from demur.errors import UsageError
from demur.models import make_model
from demur.nouns import Modality
from evaluators.estimate import Prices
from evaluators.run_model import RespondSettings, run_model

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

EXAMPLES = """
Examples:

    demur respond --corpus corpus --model cascade-tiny --out runs/cascade-tiny --controls 20

    demur respond --corpus corpus --model openai:gpt-audio --modalities audio_only,audio_text --out runs/gpt-audio

    demur respond --corpus corpus --model openai:my-model --base-url http://localhost:8000/v1 --out runs/mine

    demur respond --corpus corpus --model hf:Qwen/Qwen2-Audio-7B-Instruct --batch-size auto --out runs/qwen2-audio

    demur respond --corpus corpus --import answers.csv --name my-model --text-column reply --out runs/mine
"""


@app.command("respond", epilog=EXAMPLES)
def main(
    corpus: Annotated[Path, typer.Option(help="A finished corpus.")],
    out: Annotated[Path, typer.Option(help="Folder of the run, to make or to go on with.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="`hf:REPO_OR_PATH`, `openai:MODEL`, `cascade:ASR+LLM`, `scripted:FILE`, or a registered name such as "
            "`cascade-tiny`."
        ),
    ] = None,
    import_: Annotated[
        Path | None, typer.Option("--import", help="Take responses from a JSONL or CSV file; needs --name.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --import: the model that gave the responses.")] = None,
    id_column: Annotated[str | None, typer.Option(help="With --import: the column of sample ids.")] = None,
    prompt_column: Annotated[str | None, typer.Option(help="With --import: the column of prompts.")] = None,
    text_column: Annotated[str | None, typer.Option(help="With --import: the column of responses.")] = None,
    modality_column: Annotated[
        str | None, typer.Option(help="With --import: the column of modalities; a row without one counts for all.")
    ] = None,
    modalities: Annotated[
        str, typer.Option(help="Which to ask, separated by commas: audio_only, text_only, audio_text.")
    ] = ",".join(Modality),
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many prompts of each label, drawn by seed, twins together.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every draw here; a server draws as it likes.")] = 0,
    controls: Annotated[
        int,
        typer.Option(min=0, help="Ask so many prompts again with silence, noise and other audio; 20 is a good number."),
    ] = 0,
    batch_size: Annotated[
        str | None, typer.Option(help="Samples asked together; `auto`: many, fewer where memory runs out.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of an answer, at most. Default: 128.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="0, the default, takes the likeliest token.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible server.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests under way at once. Default: 8.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds that one request may take. Default: 120.")] = None,
    max_requests: Annotated[
        int | None, typer.Option(help="Requests that this call may make, retries included; then it stops.")
    ] = None,
    price_per_million: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            help="US dollars for a million tokens of each: says the cost.",
            metavar="TEXT AUDIO OUT",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to a run of more than 1,000 requests.")] = False,
    download: Annotated[
        bool | None, typer.Option("--download", help="A local model may be downloaded from its hub.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="A folder that `demur finetune` or PEFT made, for a model that runs here.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Such as `cpu` or `cuda:1`. Default: the GPU if any.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="`float32`, `bfloat16` or `float16`. Default: what the weights are saved in.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Of a Hub repository: a branch, a tag or a commit.")] = None,
    trust_remote_code: Annotated[
        bool | None, typer.Option("--trust-remote-code", help="Run the code that comes with a model. Read it first.")
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Ask a model also what it was trained on.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
) -> None:
    """Ask a model every sample of a corpus and record what it says.

    Running the same command again goes on where it stopped, asks again what had an error, or does nothing if all is
    done. The key of an OpenAI-compatible server comes from OPENAI_API_KEY.
    """
    options = {
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "seed": seed,
        "base_url": base_url,
        "concurrency": concurrency,
        "timeout": timeout,
        "max_requests": max_requests,
        "download": download,
        "adapter": adapter,
        "device": device,
        "dtype": dtype,
        "revision": revision,
        "trust_remote_code": trust_remote_code,
        "id_column": id_column,
        "prompt_column": prompt_column,
        "text_column": text_column,
        "modality_column": modality_column,
        "name": name,
    }
    settings = RespondSettings(
        modalities=parse_modalities(modalities),
        limit=limit,
        seed=seed,
        controls=controls,
        allow_overlap=allow_overlap,
        overwrite=overwrite,
        many_requests=yes or max_requests is not None,
        prices=Prices(*price_per_million) if price_per_million else None,
    )
    run_model(Corpus(corpus), make_model(_spec(model, import_, name), options), out, settings, quiet=quiet)
    if not quiet:
        print(f"responses: {out / 'responses.jsonl'}")


def _spec(model: str | None, import_: Path | None, name: str | None) -> str:
    if (model is None) == (import_ is None):
        known = ", ".join(plugins.names(plugins.MODELS))
        raise UsageError(f"name one of --model SPEC and --import FILE; kinds of model: {known}")
    if import_ is not None:
        if not name:
            raise UsageError("--import needs --name: the model that gave the responses")
        return f"scripted:{import_}"
    return str(model)


def parse_modalities(text: str) -> tuple[Modality, ...]:
    """Modalities from their names with commas between, each once, in the order of the splits.

    >>> parse_modalities("text_only,audio_only")
    (<Modality.AUDIO_ONLY: 'audio_only'>, <Modality.TEXT_ONLY: 'text_only'>)
    """
    wanted = {part.strip() for part in text.split(",")}
    unknown = sorted(wanted - set(Modality))
    if unknown:
        raise UsageError(f"--modalities: no {unknown[0]!r}; there are: {', '.join(Modality)}")
    return tuple(modality for modality in Modality if modality in wanted)


if __name__ == "__main__":
    run(app)
