# Every target sets up what it needs; the first run takes minutes, the next ones do not.

PYTHON ?= python3
EVENTS ?= 100000
MEMBERS ?= 1000000
ORDERS ?= 100000
EXAMPLES ?= 20000
# Chosen anew for each run; the one of a failure is printed, to be given again.
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
KEEP ?=
PROMETHEUS_PORT ?= 9090

VENV := .venv
BIN := $(VENV)/bin
AUDIT := .cache/audit
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
WATCH := .run/prometheus

GO := $(or $(shell command -v go),/usr/local/go/bin/go)
GO_INSTALL = CGO_ENABLED=0 GOBIN=$(CURDIR)/$(@D) $(GO) install -trimpath -ldflags '-s -w'
HELM_VERSION := v3.22.0
HELM := .cache/helm-$(HELM_VERSION)/helm
COMPOSE_VERSION := v2.16.2
COMPOSE := .cache/compose-go-$(COMPOSE_VERSION)/cmd

.DEFAULT_GOAL := help
.PHONY: help run observe pictures test lint format manifests programs schemas dashboards bench bench-scale bench-member bench-rules bench-simulate audit sbom bench-fraud chaos prove lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY) ## Broker, workers, EVENTS=100000 generated events, and the proof; KEEP=1 leaves it running
	$(BIN)/pointstream demo --events $(EVENTS) $(if $(KEEP),--keep) --targets $(WATCH)/workers/run.json

observe: ## Prometheus with the rules and alerts, beside `make run KEEP=1` in another terminal
	@command -v prometheus >/dev/null || { echo "no prometheus here: apt-get install prometheus" >&2; exit 1; }
	@mkdir -p $(WATCH)/workers
	@cp -r deploy/prometheus/prometheus.yml deploy/prometheus/rules $(WATCH)/
	@echo "Prometheus: http://127.0.0.1:$(PROMETHEUS_PORT)/, until Ctrl-C; its log: $(WATCH)/log"
	@exec prometheus --config.file=$(WATCH)/prometheus.yml --storage.tsdb.path=$(WATCH)/data \
		--web.listen-address=127.0.0.1:$(PROMETHEUS_PORT) 2>$(WATCH)/log

pictures: $(READY) ## Draw the README's pictures anew, from what `make observe` has (needs chromium)
	$(BIN)/python -m deploy.pictures http://127.0.0.1:$(PROMETHEUS_PORT)

test: lint ## Lint, check the generated schemas, and run all tests (they start a Kafka)
	$(BIN)/python -m pointstream.contracts.generate schemas --check
	$(BIN)/python -m pointstream.contracts.sink_tables deploy/connect/tables.sql --check
	$(BIN)/python -m pointstream.operations.manifests deploy --check
	$(BIN)/pytest -m "not broker" --numprocesses auto --dist worksteal
	$(BIN)/pytest -m broker

lint: $(READY) ## Style, formatting, types and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Put the sources into the format that lint asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

manifests: $(READY) ## Write what the Helm chart has of the program's topics, access lists and settings
	$(BIN)/python -m pointstream.operations.manifests deploy

programs: $(HELM) $(COMPOSE) ## Build helm and a reader of compose files into .cache, for tests (needs Go 1.26)

schemas: $(READY) ## Write schemas/ and the sink's tables anew from the models
	$(BIN)/python -m pointstream.contracts.generate schemas
	$(BIN)/python -m pointstream.contracts.sink_tables deploy/connect/tables.sql

dashboards: $(READY) ## Write the dashboards of deploy/dashboards anew
	$(BIN)/python -m deploy.dashboards

bench: $(READY) ## Throughput against the same core under stock Faust, as ratios
	$(BIN)/python -m tests.bench

bench-scale: $(READY) ## One worker with MEMBERS=1000000: memory, latency, restart; fails beyond its limits
	$(BIN)/python -m tests.bench.scale --members $(MEMBERS)

bench-member: $(READY) ## What an event costs a member with ORDERS=100000 orders, beside one with ten
	$(BIN)/python -m tests.bench.member --orders $(ORDERS)

bench-rules: $(READY) ## What an event costs with 200 rules in force, beside ten; fails beyond twice as much
	$(BIN)/python -m tests.bench.rules

bench-fraud: $(READY) ## What watching for fraud costs the job; fails beyond a quarter of the throughput
	$(BIN)/python -m tests.bench.fraud --broker

bench-simulate: $(READY) ## How fast history is replayed, beside the worker that made it
	$(BIN)/python -m tests.bench.simulation $(if $(filter command line,$(origin EVENTS)),--events $(EVENTS))

chaos: $(READY) ## The fault tests alone: workers killed and frozen at random, broker nodes lost
	POINTSTREAM_CHAOS=long $(BIN)/pytest -m chaos -s

prove: SEED := $(SEED)
prove: $(READY) ## The state machines over all commands and events, EXAMPLES=20000 runs; SEED=n again
	@echo "seed $(SEED); again: make prove EXAMPLES=$(EXAMPLES) SEED=$(SEED)"
	@POINTSTREAM_EXAMPLES=$(EXAMPLES) $(BIN)/pytest tests/agents/test_state_machine.py tests/agents/test_everything_machine.py \
		--hypothesis-seed=$(SEED) --timeout=0 -p no:cacheprovider || \
		{ echo "failed with seed $(SEED); again: make prove EXAMPLES=$(EXAMPLES) SEED=$(SEED)" >&2; exit 1; }

lock: ## Pin the newest dependencies that pyproject.toml allows (needs uv)
	uv pip compile $(LOCK) pyproject.toml -o requirements.txt
	uv pip compile $(LOCK) --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	uv pip compile $(LOCK) --group audit -o requirements-audit.txt
	uv pip compile $(LOCK) --group build -c requirements-dev.txt -o requirements-build.txt

audit: $(AUDIT)/.ready ## Ask for known flaws of the pinned dependencies (needs the network)
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		-r requirements.txt -r requirements-dev.txt -r requirements-audit.txt

sbom: $(AUDIT)/.ready ## Write sbom.json: the pinned dependencies, as CycloneDX
	$(AUDIT)/bin/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml \
		--output-reproducible --of JSON -o sbom.json

LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

clean: ## Remove everything that make has made, the virtual environment and Kafka's jars included
	rm -rf $(VENV) .cache .run build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache sbom.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(HELM):
	$(GO_INSTALL) helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)

$(COMPOSE):
	$(GO_INSTALL) github.com/compose-spec/compose-go/v2/cmd@$(COMPOSE_VERSION)

$(AUDIT)/.ready: requirements-audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	$(PIP) check
	@touch $@
