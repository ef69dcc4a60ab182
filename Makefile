# `make demo` runs everything once, small; `make test` passes the tests. Both make their environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lint clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[dev,coqui]'
	# Coqui imports torchaudio, whose wheel links CUDA: alone and without its native libraries it serves VITS on any machine
	$(BIN)/pip install -q -c constraints.txt --no-deps torchaudio
	rm -f $(VENV)/lib/python3.*/site-packages/torchaudio/lib/*.so
	# Voxtral's tokenizer asks for an older numpy than the rest, which it does not need
	$(BIN)/pip install -q -c constraints.txt --no-deps mistral-common
	touch $@

demo: setup
	$(BIN)/demur demo --out demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest
	$(BIN)/pytest -m slow

clean:
	rm -rf $(VENV) demo
