# The tasks of conduit-exporter; `make` lists them. Python 3.11 or newer and make are enough:
# everything else is installed into .venv, at the versions and hashes of requirements*.txt.

PYTHON ?= python3
VENV ?= .venv
ENV_FILE ?= config.env
ARGS ?=
SBOM ?= sbom.cdx.json

python := $(VENV)/bin/python
# Wheels only: building a source distribution would fetch unpinned build tools. Python compiles
# what is used when it is used: most of what the packages hold never is.
install := $(python) -m pip install --quiet --disable-pip-version-check --no-compile \
	--require-hashes --no-deps --only-binary :all:
compile := $(VENV)/bin/uv pip compile --quiet --no-strip-extras --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make requirements"

# Three processes for two cores: tests of real parts wait.
pytest := $(python) -m pytest -n 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test lint check format real-parts bench pictures requirements sbom clean

help: ## List the tasks
	@awk 'BEGIN {FS = ":[^#]*## "} /^[a-z-]+:.*## / {printf "  make %-14s%s\n", $$1, $$2}' Makefile

demo: $(VENV)/.runtime ## Show it all against a simulated Conduit (ARGS="--duration 30s")
	@$(python) -m exporter demo $(ARGS)

run: $(ENV_FILE) $(VENV)/.runtime ## Run the daemon with the settings of config.env (or ENV_FILE=...)
	@$(python) -m exporter --env-file $(ENV_FILE) run $(ARGS)

test: $(VENV)/.dev ## Run the tests but the slow ones (ARGS="tests/real -k image": just these)
	@$(pytest) $(or $(ARGS),-m "not slow")

lint: $(VENV)/.dev ## Check format, lint, types, the direction of imports and declared dependencies
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/deptry .

# The conversion is pure: its own tests alone go through every branch of it.
check: lint ## Check everything, as CI does: lint, coverage of the conversion, every test
	@$(pytest) --quiet --cov=exporter.convert --cov-fail-under=100 tests/test_convert_*.py
	@$(pytest)

format: $(VENV)/.dev ## Format the code and mend what the linter can mend
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

real-parts: ## Build the real Jaeger, Prometheus and Collector of tests/real (minutes; needs Go)
	@.ci/real-parts $(ARGS)

bench: $(VENV)/.dev ## Measure memory, processor time and throughput
	@$(python) -m bench $(ARGS)

pictures: $(VENV)/.dev ## Take README's pictures (needs Chromium and real-parts)
	@$(python) -m docs.pictures $(ARGS)

requirements: $(VENV)/.dev ## Pin the dependencies of pyproject.toml anew (ARGS=--upgrade)
	@$(compile) $(ARGS) --output-file requirements.txt pyproject.toml
	@$(compile) $(ARGS) --output-file requirements-dev.txt --extra dev \
		--constraints requirements.txt pyproject.toml

# A tool of the release alone, which nothing of ours imports: it stays out of requirements-dev.txt,
# with the thirty packages that it needs.
sbom: $(VENV)/.dev ## List the pinned dependencies as a CycloneDX bill of materials, sbom.cdx.json
	@PYTHONWARNINGS=ignore $(VENV)/bin/uv tool run --quiet --from cyclonedx-bom==7.5.0 \
		cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-format JSON --output-file $(SBOM) requirements.txt

clean: ## Remove .venv, caches and what was built
	@rm -rf $(VENV) build dist htmlcov sbom.cdx.json .coverage .coverage.* *.egg-info \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find exporter tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(ENV_FILE):
	@echo "There is no $@ yet. Copy config.example.env to $@ and put your API token into it;"
	@echo "or try 'make demo', which needs no token."
	@exit 1

$(python):
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) was not found. Install Python 3.11 or newer, or say which: make PYTHON=..."; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$($(PYTHON) --version) is too old: conduit-exporter needs Python 3.11 or newer."; \
		echo "Say which Python to use: make PYTHON=python3.13"; \
		exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
		rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv"; \
		exit 1; }

# A stamp says: installed, and the pins have not changed since. The development set holds the
# runtime set at the same pins.
$(VENV)/.runtime: $(python) requirements.txt
	@echo "Installing the dependencies into $(VENV), once..."
	@$(install) --requirement requirements.txt
	@touch $@

$(VENV)/.dev: $(python) requirements-dev.txt
	@echo "Installing the development dependencies into $(VENV), once..."
	@$(install) --requirement requirements-dev.txt
	@touch $(VENV)/.runtime $@
