# `make help` lists the commands. Each sets up what it needs itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := python -m pip install --quiet --disable-pip-version-check
INSTALL := $(BIN)/$(PIP) -c constraints.txt
# with digests, and no package that would run code of its own to be built
LOCKED := $(BIN)/$(PIP) --require-hashes --only-binary :all: -r requirements/all.txt
# one more than two cores: a third of the time of a test is waiting for a server
WORKERS ?= 3
VARIANT ?= all
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/flts/version.py)

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

$(VENV)/made: pyproject.toml constraints.txt requirements/all.txt
	@echo 'Installing FLTS with all extras into $(VENV): torch, Prophet, MLflow and more, about 2 GB.'
	@echo 'This takes two to fifteen minutes and prints nothing meanwhile. Without torch: see the quick start in README.md.'
	$(PYTHON) -m venv $(VENV)
	$(LOCKED)
	$(INSTALL) torch
	$(BIN)/$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/made-dev: $(VENV)/made requirements/dev.txt
	$(LOCKED) -r requirements/dev.txt
	@touch $@

.venv-lock/made: constraints.txt
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/$(PIP) -c constraints.txt cyclonedx-bom pip-audit uv
	@touch $@

setup: $(VENV)/made-dev ## create the virtual environment for development
demo: $(VENV)/made ## run the example: departures per hour from New York JFK, in about a minute once all is installed
	$(BIN)/flts run examples/jfk-departures/flts.toml
	$(BIN)/flts runs plot
test-fast: setup ## run the tests for every change, in about three minutes
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow and not long' tests/unit tests/golden tests/contract
test: setup ## run all tests but the long ones
	$(BIN)/python -m pytest -n $(WORKERS)
test-all: setup ## run all tests
	$(BIN)/python -m pytest -n $(WORKERS) -m ''
lint: setup ## check style and layers
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports
type: setup ## check types
	$(BIN)/mypy
bench: setup ## measure the figures of docs/performance.md
	$(BIN)/python -m tests.bench
bench-serve: setup ## measure the forecast service under load, beside a bare server
	$(BIN)/python -m tests.bench.serve
bench-resources: setup ## measure memory and CPU of every role, for the requests and limits of the chart
	$(BIN)/python -m tests.bench.resources
bench-serve-peers: setup ## the same beside LitServe and `mlflow models serve`
	$(PYTHON) -m venv .venv-serve-peers
	.venv-serve-peers/bin/$(PIP) -c constraints.txt litserve onnxruntime numpy orjson
	$(BIN)/python -m tests.bench.serve peers
bench-peers: setup ## compare with other libraries on the same rows, windows and updates
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/$(PIP) -c constraints.txt -e '.[peers]'
	.venv-peers/bin/python -m tests.bench.peers
# AutoGluon beside them, where this was made: it wants older versions of three libraries than FLTS
.venv-autogluon/made: constraints.txt
	$(PYTHON) -m venv .venv-autogluon
	grep -v -e ^coreforecast -e ^scipy -e ^statsforecast constraints.txt > .venv-autogluon/constraints.txt
	.venv-autogluon/bin/$(PIP) -c .venv-autogluon/constraints.txt autogluon.timeseries==1.6.3
	touch $@
load: setup ## load a forecast service on this machine with Locust; writes load.html; SCENARIO, RATE, SECONDS, EXPERIMENT
	$(PYTHON) -m venv .venv-load
	.venv-load/bin/$(PIP) -c constraints.txt locust==2.42.6
	$(BIN)/python -m tests.bench.loaded --locust .venv-load/bin/locust --scenario $(or $(SCENARIO),steady) --rate $(or $(RATE),20) \
	  --seconds $(or $(SECONDS),30) $(if $(EXPERIMENT),--experiment $(EXPERIMENT))
mutation: setup ## mutate the judge and the hashes; every mutant that survives needs a reason
	$(INSTALL) -e '.[mutation]'
	nice -n 5 $(BIN)/python -m tests.mutation --workers $(WORKERS)
lock: .venv-lock/made ## write requirements/*.txt anew, after a change of pyproject.toml or constraints.txt
	.venv-lock/bin/python requirements/lock.py
audit: .venv-lock/made ## ask for known vulnerabilities of what the locks name; needs the network
	.venv-lock/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/all.txt -r requirements/dev.txt
sbom: .venv-lock/made ## write the list of packages of each image, CycloneDX, to dist/
	.venv-lock/bin/python deploy/sbom.py
image: ## build the image with docker, TORCH_INDEX=URL; `make image VARIANT=serve` builds the small one
	docker build $(BUILD_OPTIONS) -f deploy/Dockerfile --build-arg VARIANT=$(VARIANT) --build-arg VERSION=$(VERSION) \
	  --build-arg TORCH_INDEX --build-arg REVISION=$$(git rev-parse HEAD) --build-arg CREATED=$$(date -u +%Y-%m-%dT%H:%M:%SZ) -t flts:dev .
release: $(VENV)/made .venv-lock/made ## build wheel, images and chart of one version into dist/; DRY_RUN=1 only checks
	$(BIN)/python deploy/release.py $(if $(DRY_RUN),--dry-run)
docs: setup ## write the generated reference pages
	$(BIN)/python docs/generate.py
chart: setup ## write the dashboards and the generated files of the chart, after a change of them, its values or the Spec
	$(BIN)/python deploy/monitoring/dashboards.py
	$(BIN)/python deploy/helm/generate.py
clean: ## remove everything that make created
	rm -rf $(VENV) .venv-load .venv-autogluon .venv-peers .venv-serve-peers .venv-lock .flts mutants load.html

.PHONY: help setup demo test-fast test test-all lint type bench bench-serve bench-serve-peers bench-resources bench-peers load mutation lock audit sbom image release docs chart clean
