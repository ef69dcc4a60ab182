"""Models run by transformers on this machine: audio language models of several families, and text-only ones.

families.py    what differs between families: one row each
checkpoint.py  a folder in, a whole model and its processor out, or one line that says what is wrong
turns.py       one user turn, and batches of turns with their answers
lalm.py        a loaded model: turns in, batches or answers out; responding, capturing and training share it
anatomy.py     where a model's text decoder and output head are
voxtral.py     what Voxtral's row needs
adapters.py    what `--adapter` takes
hf.py          `--model hf:REPO_OR_PATH`
"""
