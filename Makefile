# Everything a person types. `make` alone lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
WORKERS ?= 4

.PHONY: help run test exhaustive mutants bench torture crash-points check format schemas docs lock kafka

help: ## what can be done here
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || { echo "making .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing the pinned requirements into .venv (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

run: $(STAMP) ## the whole pipeline on this machine, live; Ctrl-C ends it with the summary
	@$(BIN)/python -m sandbox $(ARGS)

test: $(STAMP) ## every test that needs nothing but this machine (and Kafka, where `make kafka` was run)
	@$(BIN)/python -m pytest $(or $(ARGS),-n $(WORKERS) --maxschedchunk 4 -m "not alone")
	@$(if $(ARGS),,$(BIN)/python -m pytest -m alone)

exhaustive: $(STAMP) ## every order of up to 6 facts, results, crashes and replays (an hour or more, some GB)
	@EXHAUSTIVE=$${EXHAUSTIVE:-6} $(BIN)/python -m pytest -s tests/exhaustive $(ARGS)

mutants: $(STAMP) ## do the tests notice each guard taken away, and the core changed? (ARGS=--help for parts)
	@$(BIN)/python -m tests.mutations $(ARGS)

bench: $(STAMP) ## how fast it is here: BENCH= consumer_batch, catch_up, records, wallets, wallet_import, million; ARGS=--help
	@for each in $(or $(BENCH),consumer_batch); do $(BIN)/python -m bench.$$each $(ARGS) || exit 1; done

torture: $(STAMP) ## kill -9 and all else that can go wrong: KILLS= MINUTES= SEED=, ARGS=--help (needs `make kafka`)
	@$(BIN)/python -m sandbox.torture $(if $(KILLS),--kills $(KILLS)) $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(SEED),--seed $(SEED)) $(ARGS)

crash-points: $(STAMP) ## die at every await of the stream and the consumer: ROUNDS= (a side of each point) SEED=
	@$(BIN)/python -m tests.crash_points --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED)) $(ARGS)

kafka: .kafka/.fetched ## a real Apache Kafka for the tests (needs Java 17 and Maven)

.kafka/.fetched: sandbox/kafka/pom.xml sandbox/kafka/fetch.sh
	@sh sandbox/kafka/fetch.sh .kafka
	@touch $@

check: $(STAMP) ## lint, format, types, layers, generated files, an await without its crash test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m schema json --check
	$(BIN)/python -m docs.generate --check
	$(BIN)/python -m tests.crash_points --check

format: $(STAMP) ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schemas: $(STAMP) ## write the JSON Schemas of the messages anew
	$(BIN)/python -m schema json

docs: $(STAMP) ## write the generated pages of docs anew: configuration, topics, metrics
	$(BIN)/python -m docs.generate

lock: $(STAMP) ## resolve the requirements anew, with hashes
	$(BIN)/python -m pip install --quiet uv
	for extra in "" "-dev"; do \
	  UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	    --generate-hashes pyproject.toml $${extra:+--extra sandbox --extra dev} -o requirements$$extra.txt; \
	done
