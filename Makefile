# make demo    the tour: every bench at work, one page of what came out
# make test    all tests
# make check   formatting, lint, types and the fast tests
# make lint    formatting, lint and types
# Each does all the set-up by itself: a virtual environment in .venv with the tested versions.

PYTHON ?= python3
BIN := .venv/bin
# A worker a core, of one thread each: together they never ask for more than there is.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test check lint format clean

demo: .venv/installed
	$(BIN)/lab demo

test: .venv/installed
	$(PYTEST)

check: lint
	$(PYTEST) -m "not slow" -q

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
