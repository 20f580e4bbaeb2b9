# Everything a fresh clone needs is Python 3.11+, make and a package index.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV     := $(shell command -v uv)
# Install with uv where it is on the PATH, which takes seconds, and with pip where it is not or cannot reach the index.
install = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python $(1) || )$(PIP) install $(1)
# More processes than cores, since many tests wait for processes of their own. Tests that share a server form a group.
PARALLEL ?= -n 4 --dist loadgroup --no-loadscope-reorder
PYTEST   := $(BIN)/python -m pytest $(PARALLEL)

.PHONY: help demo test test-prefect-3.8 check types layers deploy bench lock clean

help:  ## Show these targets
	@grep -hE '^[a-z0-9.-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.ready  ## Set up what is missing and make a song on the simulator
	$(BIN)/songflow demo

test: $(VENV)/.ready-dev $(VENV)-datasets/.ready  ## Set up what is missing and run every test
	$(PYTEST) --cov --cov-report=term --cov-fail-under=95

test-prefect-3.8: $(VENV)-prefect-3.8/.ready  ## Run a few tests on the oldest Prefect that is allowed
	$(dir $<)bin/python -c 'import prefect; assert prefect.__version__.startswith("3.8."), prefect.__version__'
	$(dir $<)bin/python -m pytest -q -m oldest_prefect tests/tasks tests/flows tests/deployments

check: $(VENV)/.ready-dev  ## Lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

deploy: $(VENV)/.ready  ## Set up a Prefect server (PREFECT_API_URL) and write every deployment to it
	$(BIN)/songflow setup
	$(BIN)/prefect --no-prompt deploy --all --prefect-file deployments/prefect.yaml

bench: $(VENV)/.ready  ## Measure speed, as ratios of one run
	$(BIN)/python -m benchmarks --save docs

lock: $(VENV)/.ready-dev  ## Resolve the dependencies anew (names, versions and hashes only)
	$(PIP) install uv
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--extra cluster -c requirements.lock pyproject.toml -o requirements-cluster.lock
	printf '%s\n' datasets==3.6.0 dill==0.3.8 filelock 'huggingface-hub<1' multiprocess==0.70.16 xxhash | \
		$(BIN)/uv pip compile -q --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header - -o requirements-datasets.lock

clean:  ## Remove the environment and everything that was built
	rm -rf $(VENV) $(VENV)-prefect-3.8 $(VENV)-datasets dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "songflow needs Python 3.11 or newer; give one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The lock is given as constraints as well: Python 3.11's own pip takes `sqlalchemy[asyncio]` for unpinned otherwise.
$(VENV)/.ready-lock: $(VENV)/bin/python requirements.lock
	$(call install,--require-hashes -r requirements.lock -c requirements.lock)
	@touch $@

$(VENV)/.ready: $(VENV)/.ready-lock pyproject.toml
	$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/bin/python requirements-dev.lock pyproject.toml
	$(call install,--require-hashes -r requirements-dev.lock -c requirements-dev.lock)
	$(PIP) install --no-deps --editable .
	@touch $@ $(VENV)/.ready-lock $(VENV)/.ready

# `datasets` without what it shares with the main environment (18 MB): it would not be resolved beside Prefect.
$(VENV)-datasets/.ready: $(VENV)/.ready-dev requirements-datasets.lock
	rm -rf $(@D)
	$(PIP) install --no-deps --require-hashes --target $(@D) -r requirements-datasets.lock
	@touch $@

# Only what Prefect 3.8 needs in other versions; everything else is imported from the main environment.
$(VENV)-prefect-3.8/.ready: $(VENV)/.ready-dev
	rm -rf $(@D)
	$(BIN)/python -m venv $(@D)
	main=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	overlay=$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	echo "import site; site.addsitedir('$$main')" > "$$overlay/main-environment.pth"
	$(@D)/bin/python -m pip --disable-pip-version-check --quiet install 'songflow[prefect-3-8]'
	@touch $@
