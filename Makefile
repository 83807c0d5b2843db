# The commands of developers; `make` lists them.
PYTHON := .venv/bin/python
export HF_HUB_OFFLINE := 1

.PHONY: help setup demo test ci check fmt docs faults attack fuzz soak bench release boards-check monitoring-check truth guard demo-quality constraints clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup:  ## install what is missing: Debian's programs, .venv, packages
	@scripts/setup

demo:  ## start the three demo models with Prometheus and Alertmanager, until Ctrl-C
	@scripts/setup demo
	@$(PYTHON) -m safelight up demo-edit demo-generate demo-recognize

# Tests that measure wall-clock time run alone. The laws already ran in `check`.
ALONE := tests/stack/test_real_stack.py $(addprefix tests/serving/engine/test_,batching.py pool.py)
# Longer checks run in `make ci`.
LATER := tests/stack/test_whole_boards.py tests/grafana/test_check.py tests/attacks/test_attempts.py \
	$(addprefix tests/stories/test_,wrong_model.py compared.py)
# The other files share the cores, the longest first, so that those which wait run beside those which compute.
LONGEST := tests/truth/test_truth.py tests/histories/test_histories.py tests/stories/test_scenarios.py \
	tests/serving/test_conformance.py tests/stack/files/test_running.py tests/faults/test_workers.py tests/rules/test_cases.py \
	tests/serving/test_app.py tests/faults/test_callers.py tests/examples/test_services.py \
	tests/serving/test_families.py tests/records/test_failures.py tests/training/test_training.py \
	tests/faults/test_machine.py tests/serving/test_bad_input.py \
	$(addprefix tests/serving/http/test_,events.py openai.py api.py front.py) \
	$(addprefix tests/cli/test_,demo.py up.py export.py) tests/docs/test_export.py tests/models/test_compile.py
SHARING := $(LONGEST) $(filter-out $(LONGEST) $(ALONE) $(LATER) tests/laws/%,$(sort $(shell find tests -name 'test_*.py')))

test: setup check  ## run the tests (the longer ones: make ci)
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder $(SHARING)
	$(PYTHON) -m pytest -q $(ALONE)

ci: setup  ## run the longer checks, each within its budget (PART=wheels runs one)
	$(PYTHON) scripts/ci.py $(PART)

check: setup  ## lint, types, layers, laws
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/lint-imports
	@.venv/bin/mypy & types=$$!; $(PYTHON) -m pytest -q -n 2 tests/laws; laws=$$?; wait $$types && exit $$laws

fmt: setup  ## format the code and fix what ruff can fix
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

docs: setup  ## regenerate the reference pages and deploy/
	$(PYTHON) scripts/docs.py
	$(PYTHON) -m safelight export all deploy --namespace instructpix2pix

faults: setup  ## inject every fault that a service must survive, and write the table
	$(PYTHON) -m pytest -q tests/faults --reliability docs/reliability.md

attack: setup  ## attack a running service in every known way, and write the table (10 minutes)
	$(PYTHON) -m pytest -q tests/attacks tests/faults --attack-seconds 6 --reliability docs/reliability.md

fuzz: setup  ## fuzz decoders and parsers, each for 10 minutes, and the services (SECONDS=60)
	$(PYTHON) -m tests.fuzz $(or $(SECONDS),600)
	$(PYTHON) scripts/fuzz.py $(or $(SECONDS),600)

soak: setup  ## send mixed traffic for MINUTES=20 (480 by hand), and find what grows
	$(PYTHON) -m tests.soak $(or $(MINUTES),20)

release: setup  ## check, build and tag VERSION=0.2.0, and publish nothing
	@$(PYTHON) scripts/release.py $(VERSION)

bench: setup  ## measure the cost of watching, and serving beside its peers (QUICK=1: 50 s)
	@if [ "$$QUICK" = 1 ]; then exec $(PYTHON) -m benchmarks.serving; fi; \
	failed=0; \
	$(PYTHON) -m benchmarks || failed=1; \
	$(PYTHON) -m benchmarks.diagnosis || failed=1; \
	$(PYTHON) -m benchmarks.serving || failed=1; \
	$(PYTHON) -m benchmarks.pages || failed=1; \
	exit $$failed

boards-check: setup  ## check every dashboard with Grafana's own code and a real Prometheus
	$(PYTHON) scripts/boards_check.py
	$(PYTHON) -m pytest -q tests/dashboards tests/grafana tests/stack/test_whole_boards.py

monitoring-check: setup  ## test every rule and alert, on histories too (YEAR=1: a year of them)
	$(PYTHON) -m pytest -q -n 2 tests/rules tests/laws/test_expressions.py
	$(PYTHON) -m tests.histories $(if $(YEAR),--year)
	$(PYTHON) -m benchmarks.monitoring

guard: setup  ## measure the canary, shadow tests and rollouts, and fail if a figure is missed
	@failed=0; \
	$(PYTHON) -m benchmarks.guard.comparing || failed=1; \
	$(PYTHON) -m benchmarks.guard.canary || failed=1; \
	$(PYTHON) -m benchmarks.guard.callers || failed=1; \
	exit $$failed

truth: setup  ## measure the diagnosis on unknown faults (SEED=7 draws others)
	$(if $(SEED),TRUTH_SEED=$(SEED)) $(PYTHON) -m tests.truth
	$(PYTHON) -m tests.truth.live

demo-quality: setup  ## measure the demo models on unseen portraits (15 minutes)
	$(PYTHON) -m training.report

constraints: setup  ## write the exact versions of .venv to constraints.txt
	@scripts/constraints

clean:  ## delete everything that was built, and the demo's data
	rm -rf .venv .state build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
