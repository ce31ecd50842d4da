# make help says what there is. Each target sets up what it needs: Python 3.11 to 3.13 and make are enough.

PROFILE ?= laptop
ifeq ($(origin CORES),undefined)
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
endif
UV ?= uv
# What a caller gives is text. Neither make nor a shell reads it as code: recipes take it from the environment.
override PROFILE := $(value PROFILE)
override CORES := $(value CORES)
override CHAPTER := $(value CHAPTER)
override FRESH := $(value FRESH)
override CHECK := $(value CHECK)
override FROM := $(value FROM)
MINUTES ?= 8
override MINUTES := $(value MINUTES)
SCALE ?= 1
override SCALE := $(value SCALE)
override PARTS := $(value PARTS)
override SAMPLE := $(value SAMPLE)
override WHOLE := $(value WHOLE)
NODE_PYTHON ?= 3.12
override NODE_PYTHON := $(value NODE_PYTHON)
export PROFILE CORES CHAPTER FRESH CHECK FROM MINUTES SCALE PARTS SAMPLE WHOLE NODE_PYTHON REHEARSAL
# The build ends with make, even if that is killed; `exec` leaves no shell between the two.
BUILD = exec $(BIN)/python workflow/build.py --parent "$$PPID" --profile="$$PROFILE" --cores="$$CORES"

# CUDA's packages go into an environment of their own.
ifeq ($(PROFILE),gpu)
LOCK := requirements-cuda.txt
VENV ?= .venv-cuda
else
LOCK := requirements.txt
VENV ?= .venv
endif
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The first of these that is 3.11, 3.12 or 3.13; `make PYTHON=/path/to/python …` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 && echo $$p && break; done)

.DEFAULT_GOAL := help
# Chapters run side by side by themselves (CORES); make's own -j has nothing to add and could only interleave.
.NOTPARALLEL:
.PHONY: help book pdf chapter results campaign bundle test heavy slow slurm-test mutants unit lint types format setup lock clean

help:
	@echo "make book [PROFILE=laptop|smoke|gpu] [CORES=n]  run the chapters, render the book, say how the claims came out"
	@echo "               with FRESH=1, train anew what committed runs stand in for"
	@echo "make pdf [PROFILE=…]  print the rendered book to _build/PROFILE/snn-ntk.pdf (needs Chromium and its driver)"
	@echo "make chapter CHAPTER=05-stochastic-ntk [PROFILE=…]  run one chapter only"
	@echo "make results CHAPTER=09-weight-movement PROFILE=gpu   commit what exists of a chapter's sweep to results/"
	@echo "make campaign PROFILE=gpu [MINUTES=8] [SCALE=0.01]    use a card for some minutes, the most telling runs first;"
	@echo "               make results FROM=_build/gpu/campaign.tar.gz commits what came out"
	@echo "make bundle    the same for a node without a network: one file with the sources, the wheels it lacks and run.sh"
	@echo "make test      everything: style, types, all chapters and the book at smoke, unit tests, doctests, browser;"
	@echo "               with CHECK=1, as in CI, a verdict other than the committed one is a failure"
	@echo "make heavy     the tests that make test leaves out, because they take minutes or need the network"
	@echo "make slow      what takes hours: every run anew; 5,000 random networks by their kernels, 300 beside finite ones;"
	@echo "               and an hour of random numbers for closed forms, finite networks and solvers"
	@echo "make slurm-test [WHOLE=1]  the cluster's profile through a Slurm of one node (needs root, slurm-wlm and munge): a job"
	@echo "               killed, one out of time, the build gone on; with WHOLE=1 the book at smoke too"
	@echo "make mutants [SAMPLE=40]  change one operator or number after the other, so many a file: does a test notice?"
	@echo "make unit      unit tests and doctests only"
	@echo "make lint types format   ruff, zizmor · pyright · put files into ruff's format"
	@echo "make setup     only create the environment ($(VENV)), for Jupyter or an editor"
	@echo "make lock      compile requirements.txt and those for CUDA and Slurm anew (needs uv)"
	@echo "make clean     remove everything that was built (_build)"
	@echo
	@echo "Profiles: smoke (two and a half minutes, everything runs, little is decided) · laptop (the default) · gpu (full scale, CUDA)."

$(READY): $(LOCK) pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and none was found ($$(python3 --version 2>&1))." \
		"Install one, or name it: make PYTHON=/path/to/python3 …" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
		echo "Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Creating $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing $(LOCK) into $(VENV) (about 1.7 GB the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --requirement $(LOCK)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(READY)

book: $(READY)
	@$(BUILD)

pdf: book
	@$(BIN)/python workflow/pdf.py --profile="$$PROFILE"

chapter: $(READY)
	@test -n "$$CHAPTER" || { echo "Which one? make chapter CHAPTER=NAME, NAME a file of notebooks/ without .md" >&2; exit 2; }
	@$(BUILD) --chapter="$$CHAPTER"

results: $(READY)
	@test -n "$$CHAPTER$$FROM" || { echo "Which one? make results CHAPTER=NAME PROFILE=gpu, NAME a chapter with a sweep," \
		"or make results FROM=FILE, what a campaign packed" >&2; exit 2; }
	@$(BIN)/python workflow/collect.py --profile="$$PROFILE" $${REHEARSAL:+--rehearsal} $${FROM:+--packed="$$FROM"} -- $${CHAPTER:+"$$CHAPTER"}

campaign: $(READY)
	@$(BIN)/python workflow/campaign.py --profile="$$PROFILE" --minutes="$$MINUTES" --scale="$$SCALE" --parts="$$PARTS"

bundle: $(READY)
	@$(BIN)/python workflow/bundle.py --python="$$NODE_PYTHON"

lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/python workflow/check_notebooks.py notebooks/*.md notebooks/sweeps/*.md
	@$(BIN)/zizmor --offline --quiet .github

types: $(READY)
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

format: $(READY)
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format
	@$(BIN)/python workflow/check_notebooks.py --fix notebooks/*.md notebooks/sweeps/*.md

unit: $(READY)
	@$(BIN)/python -m pytest --numprocesses="$$CORES" --ignore tests/test_browser.py

test: lint types
	@$(BUILD) --profile=smoke
	@$(BIN)/python -m pytest --numprocesses="$$CORES"

heavy: $(READY)
	@$(BUILD) --profile=smoke
	@$(BIN)/python -m pytest -m heavy --numprocesses="$$CORES"

slow: $(READY)
	@$(BUILD) --profile=smoke
	@$(BIN)/python -m pytest -m "weekly and not slurm"
	@PYTHONPATH=tests $(BIN)/python -m random_networks
	@PYTHONPATH=tests $(BIN)/python -m fuzz

# Writes one link outside its folder, and takes it away again: /etc/slurm/slurm.conf (tests/slurm/cluster.py).
slurm-test: $(READY)
	@$(BIN)/python -m pytest -s tests/slurm -m "slurm and ($${WHOLE:+slurm or} not weekly)"

# What only this needs stays out of the lock.
mutants: $(READY)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint $(LOCK) --no-build-isolation --editable ".[mutants]"
	@PYTHONPATH=tests $(BIN)/python -m mutants $${SAMPLE:+--sample="$$SAMPLE"}

lock:
	$(UV) pip compile -q --universal --python-version 3.11 --extra book --extra test --group neural-tangents \
		--no-header --no-emit-index-url --no-annotate pyproject.toml -o requirements.txt
	$(UV) pip compile -q --universal --python-version 3.11 --extra book --extra test --extra cuda12 --group neural-tangents --constraint requirements.txt \
		--no-header --no-emit-index-url --no-annotate pyproject.toml -o requirements-cuda.txt
	$(UV) pip compile -q --universal --python-version 3.11 --group slurm --constraint requirements.txt \
		--no-header --no-emit-index-url --no-annotate -o requirements-slurm.txt

clean:
	rm -rf _build .snakemake
