# Two commands on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= $(if $(FULL),demo-full,demo)

.PHONY: demo test coverage check docs figures clean gpu test-reliability audit test-boutiques test-containers test-slurm test-babs

# One person on three scanners at 2 mm; FULL=yes: two people at 1 mm, which takes ten minutes.
demo: $(VENV)/.runtime
	@echo "1/3 Simulating one head on a Siemens, a GE and a Philips scanner ..."
	@test -e $(DEMO)/bids || $(BIN)/ihf demo-data $(DEMO)/bids $(if $(FULL),,--subjects 1 --zoom 2)
	@echo "2/3 Harmonizing every image to Siemens; a line for each, and how long the others will take ..."
	@$(BIN)/ihf-harmony $(DEMO)/bids $(DEMO)/out participant --target Siemens --work-dir $(DEMO)/work
	@echo "3/3 Collecting the quality measures of all images ..."
	@$(BIN)/ihf-harmony $(DEMO)/bids $(DEMO)/out group
	@echo
	@echo "Open in a browser:"
	@echo "    $(CURDIR)/$(DEMO)/out/sub-01.html    each scan before and after, and what changed"
	@echo "    $(CURDIR)/$(DEMO)/out/group.html     all images at a glance"
	@echo "The images, to be seen beside $(DEMO)/bids in any viewer:"
	@echo "    $(DEMO)/out/sub-01/ses-ge/anat/    harmonized images, change maps, brain masks"

# A file of tests stays in one process: what it has made is used again there.  In the order of their
# names the longest begin early; xdist's own order leaves one of them for the end.
TESTS := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.test check
	$(TESTS)

# The same, and which lines no test runs; counting lines slows the tests down.
coverage: $(VENV)/.test
	$(TESTS) --cov --cov-report=term:skip-covered

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The documentation as a site; a broken link, or a name that does not exist, is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html"

# The pictures of the pages that show a run of the demo (FULL=yes; needs Chromium).
figures: $(VENV)/.test
	$(BIN)/python -m docs.figures.demo $(DEMO)/bids $(DEMO)/out
	$(BIN)/python -m docs.figures.reports $(DEMO)/out

# Everything that can go wrong, and the tables of docs/reliability.md; an hour of one processor.
test-reliability: $(VENV)/.test
	$(BIN)/python -m tests.reliability -o docs/results

# Some minutes of training on a machine with a GPU, or slowly without, that has torch, numpy, scipy,
# safetensors and attrs only.  TRAIN is a folder with train.toml and people.safetensors; FROM, an
# OUT of an earlier call, goes on with that run.
GPU_PYTHON ?= python3
TRAIN ?= train
MINUTES ?= 8
OUT ?= $(TRAIN)/out
gpu:
	PYTHONPATH=$(CURDIR) $(GPU_PYTHON) -m bids_ihf.lab.training.timed_run $(TRAIN)/train.toml $(OUT) \
	    --minutes $(MINUTES) $(if $(FROM),--from $(FROM))

# Known holes in the pinned versions, asked of pip-audit's service.
audit: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

# What needs more than this package, and minutes: not part of `make test`.  DOCKER (or podman),
# APPTAINER, BOSH, BABS and SNAKEMAKE name programs that are not on the PATH, ZOOM the voxel size of the
# demo in mm, MODALITIES which kinds of image are run, OPTIONS more options of the image's run; IMAGE_SIF
# names a SIF that `make test-babs` needs, `make test-slurm` also runs, and `make test-containers` takes
# instead of building one.
SLOW := $(BIN)/python -m pytest --timeout 14400 --capture no

test-boutiques: $(VENV)/.test
	$(SLOW) tests/containers/check_boutiques.py

test-containers: $(VENV)/.test
	$(SLOW) tests/containers/check_image.py

test-slurm: $(VENV)/.test
	$(SLOW) tests/containers/check_slurm.py

# BABS needs packages that are not ours: python3 -m venv babs, babs/bin/pip install babs==0.5.4
# git-annex==10.20251215, and make test-babs BABS=babs/bin/babs IMAGE_SIF=ihf-harmony.sif.
test-babs: $(VENV)/.test
	$(SLOW) tests/containers/check_babs.py

clean:
	rm -rf $(VENV) demo demo-full build *.egg-info

# torch goes first and by itself: its pinned version is then what every other package builds on.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@echo "Installing into $(VENV), a minute or more ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . -c constraints.txt
	touch $@

$(VENV)/.docs: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]' -c constraints.txt
	touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]' -c constraints.txt
	touch $@
