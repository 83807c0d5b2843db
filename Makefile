# Everything a developer or a curious reader needs; `make` alone lists it.
PYTHON := .venv/bin/python
export HF_HUB_OFFLINE := 1

.PHONY: help setup demo test check fmt docs faults bench monitoring-check truth demo-quality constraints clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup:  ## install what is missing: Debian's programs, .venv, packages
	@scripts/setup

demo:  ## start the three demo models with Prometheus and Alertmanager, until Ctrl-C
	@scripts/setup demo
	@$(PYTHON) -m safelight up demo-edit demo-generate demo-recognize

# What holds somebody to a time on the wall has the machine for itself; the laws ran in `check`.
ALONE := tests/stack/test_real_stack.py tests/stack/test_whole_boards.py \
	$(addprefix tests/serving/test_,batching.py pool.py)
# All else shares the cores, a file at a time: what takes longest first, and what waits beside what computes.
LONGEST := tests/truth/test_truth.py tests/stories/test_scenarios.py \
	tests/serving/test_conformance.py tests/faults/test_workers.py tests/rules/test_cases.py \
	tests/serving/test_app.py tests/faults/test_callers.py tests/examples/test_services.py \
	tests/serving/test_families.py tests/records/test_failures.py tests/training/test_training.py \
	tests/faults/test_machine.py $(addprefix tests/serving/test_,bad_input.py events.py openai.py api.py front.py) \
	$(addprefix tests/cli/test_,demo.py up.py export.py) tests/docs/test_export.py tests/models/test_compile.py
SHARING := $(LONGEST) $(filter-out $(LONGEST) $(ALONE) tests/laws/%,$(sort $(shell find tests -name 'test_*.py')))

test: setup check  ## run every test
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder $(SHARING)
	$(PYTHON) -m pytest -q $(ALONE)
	$(PYTHON) -m benchmarks.monitoring

check: setup  ## lint, types, layers, laws
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/lint-imports
	@.venv/bin/mypy & types=$$!; $(PYTHON) -m pytest -q -n 2 tests/laws; laws=$$?; wait $$types && exit $$laws

fmt: setup  ## format and mend what can be mended
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

docs: setup  ## write the generated pages and deploy/ anew
	$(PYTHON) scripts/docs.py
	$(PYTHON) -m safelight export all deploy --namespace instructpix2pix

faults: setup  ## hurt real services in every way they must survive, and write the table
	$(PYTHON) -m pytest -q tests/faults --reliability docs/reliability.md

bench: setup  ## measure what watching costs, and serving beside its peers (QUICK=1: 50 s)
	@if [ "$$QUICK" = 1 ]; then exec $(PYTHON) -m benchmarks.serving; fi; \
	failed=0; \
	$(PYTHON) -m benchmarks || failed=1; \
	$(PYTHON) -m benchmarks.diagnosis || failed=1; \
	$(PYTHON) -m benchmarks.serving || failed=1; \
	exit $$failed

monitoring-check: setup  ## prove every board and alert, and print what the monitoring reaches
	$(PYTHON) -m pytest -q -n 2 tests/rules tests/dashboards tests/laws/test_expressions.py
	$(PYTHON) -m pytest -q tests/stack/test_whole_boards.py
	$(PYTHON) -m benchmarks.monitoring

truth: setup  ## hold the diagnosis to faults that it does not know (SEED=7 draws others)
	$(if $(SEED),TRUTH_SEED=$(SEED)) $(PYTHON) -m tests.truth
	$(PYTHON) -m tests.truth.live

demo-quality: setup  ## judge the demo models on people whom they never saw (a quarter of an hour)
	$(PYTHON) -m training.report

constraints: setup  ## write the exact versions of .venv to constraints.txt
	@scripts/constraints

clean:  ## remove what was built; the demo's data too
	rm -rf .venv .state build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
