# "make" alone lists what there is to do. Needs Python 3.11 or newer; everything else goes into .venv.

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
WORKERS := 3
# Longer tests, apart from the others.
ATTACKS := tests/robustness tests/recovery tests/chaos tests/face/test_outages.py tests/face/test_ctrl_c.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo up down cluster test attacks test-cluster pages docs recipes browser pictures bench chaos mutants revision lint clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## Ingest sample files with a Dagster job and show what became of them
	@$(PYTHON) -m pipelines.demo

up: $(VENV)/.installed ## Run Dagster with its web pages, schedules and the landing sensor (PORT=3000, FOLLOW=1, BACKUPS=folder), until Ctrl-C
	@$(PYTHON) -m pipelines.up $(if $(PORT),--port $(PORT)) $(if $(FOLLOW),--follow) $(if $(BACKUPS),--backups '$(BACKUPS)')

down: $(VENV)/.installed ## Stop the embedded PostgreSQL; its data stays
	@$(VENV)/bin/eventstore down

cluster: $(VENV)/.installed-ray ## Start a Ray cluster on this machine, to try what runs on several (NODES=2), until Ctrl-C
	@$(PYTHON) -m pipelines.cluster.local $(if $(NODES),--nodes $(NODES))

test: $(VENV)/.installed-dev ## Run the tests (ARGS='-k horizon' for some; DATABASE_URL for your own server)
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup --ignore=tests/docs --ignore=tests/browser --ignore=tests/cluster \
	    --ignore=tests/benchmarks $(addprefix --ignore=,$(ATTACKS)) $(ARGS)

attacks: $(VENV)/.installed-dev ## Run the tests of any input, outages, old releases, replication, backups, and of everything at once (4 minutes)
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup $(ARGS) $(ATTACKS)

test-cluster: $(VENV)/.installed-dev $(VENV)/.installed-ray ## Kill runs, nodes and the head of a Ray cluster on this machine (10 minutes, 4 GB)
	@$(PIP) 'kubernetes-validate>=1.37,<2'
	$(PYTHON) -m pytest -n0 $(ARGS) tests/cluster tests/deploy

pages: $(VENV)/.installed-dev ## Run every block of the README and of docs/, each recipe alone, each measure of the benchmark on little
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup $(ARGS) tests/docs tests/benchmarks

docs: $(VENV)/.installed-dev ## Write docs/reference anew from the code
	@$(PYTHON) -m tests.docs

recipes: $(VENV)/.installed-dev ## Follow all recipes of docs/extending.md in a copy, then test what they touch
	@$(PYTHON) -m tests.docs.with_recipes $(ARGS)

browser: $(VENV)/.installed-dev ## Click through Dagster's pages in a real browser (wants Chromium, CHROMIUM=/usr/bin/chromium)
	@$(PIP) 'playwright>=1.49,<2' && $(PYTHON) -m pytest -n0 $(ARGS) tests/browser

pictures: $(VENV)/.installed-dev ## Take the pictures of the README and of docs/ anew (wants Chromium, CHROMIUM=/usr/bin/chromium)
	@$(PIP) 'playwright>=1.49,<2' && $(PYTHON) -m tests.docs.pictures

bench: $(VENV)/.installed-dev ## Measure speed into docs/benchmarks.md (EVENTS=10000000 ROUNDS=3 SECONDS=10, ONLY=append,ingest for some)
	@$(PYTHON) -m tests.benchmarks $(if $(EVENTS),--events $(EVENTS)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	    $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ONLY),--only $(ONLY))

chaos: $(VENV)/.installed-dev ## Let everything happen at once, compare what is left with what must be (EVENTS=1000000 or SECONDS=60, CRASHES=50, SEED=1)
	@$(PYTHON) -m tests.chaos $(if $(EVENTS),--events $(EVENTS)) $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(CRASHES),--crashes $(CRASHES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

mutants: $(VENV)/.installed-dev ## Take the steps of the protocols out, one at a time: a test must fail each time (ONLY=hold_horizon)
	@$(PYTHON) -m tests.mutants $(if $(ONLY),--only '$(ONLY)')

revision: $(VENV)/.installed ## Write a revision of the schema to be filled in (NAME="who carries the parcel"; ID=shop_1 for one of your team)
	@$(PYTHON) -m eventstore.log.schema.new $(if $(ID),--id '$(ID)') '$(subst ','\'',$(NAME))'

lint: $(VENV)/.installed-dev ## Check style, types and the direction of imports
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean: ## Remove .venv and caches; your data in .eventstore stays
	@if [ -x $(VENV)/bin/eventstore ]; then $(VENV)/bin/eventstore down; fi
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# The stamps say for which pyproject.toml the packages were installed.

$(VENV)/.installed: pyproject.toml | $(PYTHON)
	@echo "Installing (the first time takes a minute or two) …"
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(PYTHON)
	@echo "Installing, with what the tests need (the first time takes a minute or two) …"
	@$(PIP) -e '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-ray: pyproject.toml | $(VENV)/.installed
	@echo "Installing Ray (240 MB) …"
	@$(PIP) -e '.[ray]'
	@touch $(VENV)/.installed $@

$(PYTHON):
	@for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Making $(VENV) with $$($$python --version) …"; \
	        $$python -m venv --clear $(VENV) && exit 0; \
	        rm -rf $(VENV); \
	        echo "error: $$python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; \
	        exit 1; \
	    fi; \
	done; \
	echo "error: no Python 3.11 or newer found on the PATH ($$(python3 --version 2>&1))" >&2; \
	exit 1
