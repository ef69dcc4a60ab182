"""Prompts to speech to corpus; `python -m builders.tts_synth` is its face."""
