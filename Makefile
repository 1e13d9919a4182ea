# make demo   two real searches on this machine, and their best configurations
# make test   all tests
# make lint   style and types
# make docs   the pages in docs/ as HTML
# Each makes .venv and installs what it needs first; PYTHON names the interpreter (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint docs clean

demo: .venv/.demo
	@set -e; root=$$(mktemp -d); \
	for search in 'polynome2 50' 'digits 40'; do \
	  set -- $$search; \
	  echo; echo "== $$1: $$2 evaluations on this machine, two at a time"; \
	  $(BIN)/hpcsearch submit hps $$1 -p examples/$$1/problem.py -r examples/$$1/model_run.py -n 1 -t 30 \
	    -q local -A none -j serial --evals-per-node 2 --max-evals $$2 --root "$$root" --wait; \
	  echo; $(BIN)/hpcsearch results $$1 --top 3 --root "$$root"; \
	done; \
	echo; echo "Everything is in $$root; look around with: $(BIN)/hpcsearch status polynome2 --root $$root"

# What fails while other tests run beside it, or on the cluster, is run once more with nothing beside it; both runs are
# shown. A test that fails then has failed.
AGAIN := $(BIN)/python -m pytest --last-failed --last-failed-no-failures none

test: .venv/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slurm' $(PYTEST) || $(AGAIN) -m 'not slurm' $(PYTEST)
	$(BIN)/python -m pytest -m slurm $(PYTEST) || $(AGAIN) -m slurm $(PYTEST)
	$(BIN)/python tests/other_pythons.py

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check hpcsearch tests benchmarks examples
	$(BIN)/mypy

docs: .venv/.docs
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet docs docs/_build
	@echo "The pages are in docs/_build; begin with docs/_build/index.html"

clean:
	rm -rf .venv .cache dist build docs/_build

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'hpcsearch needs Python 3.11 or later: make PYTHON=/path/to/python3.11'; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml | $(BIN)/python
	$(PIP) -e .
	@touch $@

.venv/.test: pyproject.toml tools/install-horovod | $(BIN)/python
	$(PIP) -e '.[test]'
	tools/install-horovod $(BIN)/python
	@touch $@

.venv/.docs: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[docs]'
	@touch $@

.venv/.dev: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@
