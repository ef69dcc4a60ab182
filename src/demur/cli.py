"""The `demur` command: each of its commands is the face of one module."""

import typer

from demur.console import run


def make_app() -> typer.Typer:
    """The whole command; the faces are imported here and not at the top, so that demur's core needs none of them."""
    from builders import tts_synth
    from demur.demo import demo
    from demur.finetune import __main__ as finetune
    from evaluators import calibrate, leaderboard, respond, score

    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        help="Does an audio language model refuse what it should, and only that?",
    )
    app.callback()(lambda: None)
    app.command("build", epilog=tts_synth.EXAMPLES)(tts_synth.main)
    app.command("respond", epilog=respond.EXAMPLES)(respond.main)
    app.command("score", epilog=score.EXAMPLES)(score.main)
    app.command("leaderboard", epilog=leaderboard.EXAMPLES)(leaderboard.main)
    app.command("calibrate", epilog=calibrate.EXAMPLES)(calibrate.main)
    app.add_typer(finetune.make_app(), name="finetune")
    app.command("demo")(demo)
    return app


def main() -> None:
    """Entry point of the console script."""
    run(make_app())
