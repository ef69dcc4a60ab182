"""The experiment: every method on one model, from nothing to a report. python -m demur.finetune.experiment --out DIR

DIR/plan.json               what all arms share; written first, compared when it goes on
DIR/corpora/<name>/         `tune`, `test`, and what else is tested on
DIR/adapters/<arm>-<seed>/  as `demur finetune` makes them
DIR/runs/<corpus>/<run>/    as `demur respond` and `demur score` make them; the run `none` is the base model's
DIR/kept/<run>.json         what is left of the base model's answers to plain benign prompts
DIR/leaderboard/            all runs
DIR/results.json            effects against the base model and between arms, curves, what was chosen
DIR/report.md, plots/       the same to read and to look at; written after each seed

arms.py      what is compared
steps.py     tune, ask, score: each from a folder to a folder
summary.py   folders to `results.json`
report.py    `results.json` to Markdown and pictures
"""
