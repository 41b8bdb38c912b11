# make demo   a synthetic dataset, segmented end to end      make test   lint, types, layers, tests, docs
# make bench  seconds per stage                             make docs   the pages in docs/_build/html
# make image  the container image of the cpu target, with its tests (needs docker or podman)
# make lock   container/locks from setup.cfg and constraints.txt       make base TAG=...  the digest of the base image
# make sbom   dist/bids_hypo.cdx.json: what is installed beside bids_hypo (CycloneDX)
# make dist   dist/*.tar.gz and dist/*.whl, installed and tried in an environment of their own (RELEASING.md)
# make torture  kills, full disks and crowds, against the command; about a quarter of an hour
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV ?= .venv
TEST_PROCESSES ?= 2
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --no-input --quiet -c constraints.txt

.PHONY: demo test torture lint docs dist bench image lock base sbom clean distclean
.DELETE_ON_ERROR:

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "bids_hypo needs Python 3.11 or newer; '$(PYTHON)' is missing or older. Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv "$(VENV)" || { \
	  echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu install the package python3-venv."; exit 1; }

# Installed in place, so that a stamp need only follow what decides the dependencies.
$(VENV)/.installed: setup.cfg constraints.txt | $(BIN)/python
	@echo "Installing bids_hypo into $(VENV) (some minutes the first time) ..."
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: setup.cfg constraints.txt | $(BIN)/python
	@echo "Installing bids_hypo and its development tools into $(VENV) (some minutes the first time) ..."
	$(PIP_INSTALL) -e '.[test,docs]'
	@touch $@ $(VENV)/.installed

demo/.made: $(wildcard bids_hypo/demo/*.py bids_hypo/cli/demo.py) | $(VENV)/.installed
	rm -rf demo/data demo/out
	$(BIN)/bids_hypo_demo demo/data
	@touch $@

demo: $(VENV)/.installed demo/.made
	$(BIN)/bids_hypo demo/data demo/out participant
	$(BIN)/bids_hypo demo/data demo/out group
	@echo
	@echo "Scans:     $(CURDIR)/demo/out/index.html"
	@echo "Groups:    $(CURDIR)/demo/out/group_report.html"
	@echo "Results:   $(CURDIR)/demo/out"
	@echo "Input:     $(CURDIR)/demo/data"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest --cov --cov-report=term -n $(TEST_PROCESSES) --dist loadfile
	$(MAKE) docs

torture: $(VENV)/.installed-dev
	$(BIN)/python -m tests.torture

docs: $(VENV)/.installed-dev
	rm -rf docs/_build
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "Pages:     $(CURDIR)/docs/_build/html/index.html"

dist: $(VENV)/.installed-dev
	rm -f dist/*.tar.gz dist/*.whl
	$(BIN)/python release/dist.py

bench: $(VENV)/.installed
	$(BIN)/python -m bids_hypo.cli.bench

image: $(VENV)/.installed-dev
	BIDS_HYPO_TEST_IMAGES=1 $(BIN)/python -m pytest -m container tests/container

$(VENV)/.installed-supply: constraints.txt | $(BIN)/python
	$(PIP_INSTALL) uv cyclonedx-bom
	@touch $@

lock: $(VENV)/.installed-supply
	$(BIN)/python container/lock.py

# The digest is that of the index of all platforms, as the registry gives it now.
base:
	@test -n "$(TAG)" || { echo "Give the tag, such as: make base TAG=3.11.16-slim-bookworm"; exit 1; }
	digest=$$(docker buildx imagetools inspect "python:$(TAG)" --format '{{.Manifest.Digest}}') && \
	  $(PYTHON) container/base.py "$(TAG)" "$$digest"

sbom: $(VENV)/.installed-supply
	mkdir -p dist
	$(BIN)/python -m cyclonedx_py requirements --output-reproducible -o dist/bids_hypo.cdx.json container/locks/cpu.txt

clean:
	rm -rf demo build dist docs/_build htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
	  .import_linter_cache .hypothesis

distclean: clean
	rm -rf "$(VENV)" bids_hypo.egg-info
