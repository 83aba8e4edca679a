# make        build and install into .venv          make test      what CI runs
# make demo   all the set-up, then a first report   make test-all  adds the long ones
# PYTHON=python3.13 picks the interpreter that allcores is installed with (3.11 or newer).

SHELL := bash
PYTHON ?=
VENV   := .venv
# Another interpreter than that of the .venv: the .venv is made anew.
ifneq ($(PYTHON),)
ifneq ($(wildcard $(VENV)/bin/python),)
WHICH := -c 'import sys; print(sys.base_prefix, sys.version)'
ifneq ($(shell $(PYTHON) $(WHICH)),$(shell $(VENV)/bin/python $(WHICH)))
$(shell rm -rf $(VENV) build/wheel)
endif
endif
endif
SOURCES = $(shell find include src python web docs/verdicts meson.build meson.options tools/embed pyproject.toml -type f 2>/dev/null)

.PHONY: all demo pictures test test-all lint fmt check-c fuzz pythons clean

all: $(VENV)/.installed

$(VENV)/bin/python:
	tools/setup build $(PYTHON)
	python=$$(tools/find-python $(PYTHON)) && "$$python" -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q meson meson-python ninja

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m pip install -q --no-build-isolation --no-deps \
		--force-reinstall --config-settings=build-dir=build/wheel .
	$(VENV)/bin/python -m pip install -q $$($(VENV)/bin/python -c \
		'from importlib.metadata import requires; print(*requires("allcores"))')
	@touch $@

demo: all
	$(VENV)/bin/allcores why examples/batch.py

$(VENV)/.test-tools: $(VENV)/bin/python tests/requirements.txt tests/npm.txt
	tools/setup test
	$(VENV)/bin/python -m pip install -q -r tests/requirements.txt
	npm install --silent --no-save --prefix $(VENV)/web $$(cat tests/npm.txt)
	@touch $@

# The README's pictures, on an idle machine.
pictures: all $(VENV)/.test-tools
	tools/pictures

pythons:
	tools/get-pythons

test: all $(VENV)/.test-tools lint check-c pythons
	$(VENV)/bin/python -m pytest -m "not long"

# Applications that the long tests look at as their users run them.
$(VENV)/.test-apps: $(VENV)/.test-tools tests/requirements-apps.txt
	$(VENV)/bin/python -m pip install -q -r tests/requirements-apps.txt
	@touch $@

test-all: all $(VENV)/.test-apps lint check-c fuzz pythons
	$(VENV)/bin/python -m pytest

# The C tests three times: as built for users, under ASan+UBSan, and the concurrent ones under TSan.
check-c: $(VENV)/.test-tools
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tools/check-c

fuzz: $(VENV)/.test-tools
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tools/fuzz

lint: $(VENV)/.test-tools
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tools/lint

fmt: $(VENV)/.test-tools
	git ls-files '*.c' '*.h' | xargs clang-format -i
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

clean:
	rm -rf build build-* $(VENV)
