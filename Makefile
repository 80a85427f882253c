# make run    listen (the demo scene where no microphone is found);  make run ARGS="--source kitchen.wav --json"
# make test   the whole test suite, three files at a time;           make test WORKERS=0 ARGS="tests/stream -k ring"
# make lint   style, types, import rules
# make bench  the measurements of docs/benchmarks.md on this machine
# make clean  remove what these made, the virtual environment too
#
# Each sets up what it needs in .venv, once; `run` installs the live pipeline alone (no torch). pip's own configuration
# is left as it is. `make test TORCH=WHEEL` takes another build of torch: on a machine without a GPU the CPU build saves
# gigabytes (docs/how-to/development.md).

PYTHON ?= python3
TORCH  ?= torch
ARGS   ?=
# Half of the tests' time is waiting for real processes: three at a time keep two cores busy, the
# longest files, those of tests/live, first. 0 is none beside pytest.
WORKERS ?= 3

VENV    := .venv
LOCKED  := $(shell command -v flock >/dev/null 2>&1 && echo flock pyproject.toml)
TESTED  := '.[network,litert,train,test]'
MEASURED := '.[network,litert,train,test,bench]'
INPUTS  := pyproject.toml constraints.txt stream/features/_kernel.c stream/features/_filters.c
# For the front end's inner loops; `run` goes on without.
COMPILER := $(if $(shell command -v cc 2>/dev/null),,gcc python3-dev)
INSTALL := $(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: run test lint bench clean setup-run setup-test setup-bench
.DELETE_ON_ERROR:

run: setup-run
	@$(VENV)/bin/earwitness run $(ARGS)

test: setup-test
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup-test
	@mkdir -p .mypy && ln -sfn .. .mypy/earwitness
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

bench: setup-bench
	@$(VENV)/bin/earwitness bench --page docs/benchmarks.md $(ARGS)

clean:
	rm -rf $(VENV) .mypy .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	rm -f stream/features/_kernel.*.so stream/features/_filters.*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two calls in one clone wait for each other: the stamps are looked at again behind the lock.
setup-run setup-test setup-bench:
	@$(LOCKED) $(MAKE) -s --no-print-directory $(VENV)/$@ >&2

$(VENV)/setup-run: $(INPUTS)
	@$(call packages,libportaudio2)
	@$(call install,-e .)
	@touch $@

$(VENV)/setup-test: $(INPUTS)
	@$(call packages,libportaudio2 $(COMPILER) $(if $(filter 0,$(shell id -u)),pulseaudio pulseaudio-utils libasound2-plugins))
	@$(call install,$(TORCH) -e $(TESTED))
	@touch $(VENV)/setup-run $@

# What is measured beside it, for `make bench` alone.
$(VENV)/setup-bench: $(VENV)/setup-test
	@$(call install,$(TORCH) -e $(MEASURED))
	@touch $@

# Debian packages, where they are missing and root or a password-less sudo can install them; nothing depends on it:
# without libportaudio2 all but the microphone works, without PulseAudio the tests of the microphone say they skip.
define packages
	missing=; for name in $(1); do dpkg -s $$name >/dev/null 2>&1 || missing="$$missing $$name"; done; \
	test -n "$$missing" || exit 0; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo='sudo -n'; else sudo=false; fi; \
	apt="$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::http::Timeout=20"; \
	echo "installing Debian packages:$$missing"; \
	{ $$apt install --no-install-recommends $$missing || { $$apt update && $$apt install --no-install-recommends $$missing; }; } \
		>/dev/null 2>&1 || \
	echo "could not install$$missing; going on without (earwitness doctor says what is missing and how to mend it)"
endef

# Into .venv by pip. What was killed half-way is known by its mark and begun afresh.
define install
	$(PYTHON) -c 'import sys; sys.exit("Earwitness needs Python 3.11 or newer; this is %d.%d (make PYTHON=...)" % sys.version_info[:2] \
		if sys.version_info < (3, 11) else 0)' && \
	{ test ! -e $(VENV)/installing || rm -rf $(VENV); } && \
	{ test -x $(VENV)/bin/python && $(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV); } && \
	echo "installing into $(VENV) (once)" && touch $(VENV)/installing && \
	{ $(INSTALL) $(1); code=$$?; rm -f $(VENV)/installing; exit $$code; }
endef
