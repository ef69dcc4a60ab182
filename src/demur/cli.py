"""The `demur` command: each of its commands is the face of one module."""

import typer

from demur.console import run


def make_app() -> typer.Typer:
    """The whole command; the faces are imported here and not at the top, so that demur's core needs none of them."""
    import builders.tts_synth

    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        help="Does an audio language model refuse what it should, and only that?",
    )

    @app.callback()
    def root() -> None: ...

    app.command("build", epilog=builders.tts_synth.EXAMPLES)(builders.tts_synth.main)
    return app


def main() -> None:
    """Entry point of the console script."""
    run(make_app())
