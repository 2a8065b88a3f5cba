# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
# hpt_ros without a ROS distribution: every target sets up .venv by itself first. `make help` lists them.
# With a ROS distribution (sourced /opt/ros/...), use rosdep and colcon instead: see CONTRIBUTING.md.

PYTHON ?= python3
DISTRO ?= kilted# or jazzy: ROS 2's wheels
LIBS ?= pinned# or noble: NumPy, OpenCV, SciPy ... as Ubuntu 24.04 has them
# Environments lie side by side: .venv, .venv-jazzy, .venv-jazzy-noble (venv_name() in tools/setup_pins.py).
VENV := $(subst .venv-kilted/,.venv/,.venv-$(DISTRO)$(if $(filter-out pinned,$(LIBS)),-$(LIBS))/)
VENV := $(VENV:/=)
SUFFIX := $(VENV:.venv%=%)
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
ARGS ?=
EXTRAS ?=
# What the tests run beside the default packages: all extras but rerun, which is large, and timm, since PyPI's
# torchvision does not load beside a CPU torch.
TEST_EXTRAS := diffusion efficientnet export language onnx ray rlds sentence suites transformers umi wandb
ifneq ($(filter test test-slow,$(MAKECMDGOALS)),)
  override EXTRAS += $(TEST_EXTRAS)
endif

# A sourced ROS distribution or another virtual environment must not leak into .venv.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH PYTHONHOME PYTHONPATH ROS_DISTRO \
  ROS_PYTHON_VERSION ROS_VERSION VIRTUAL_ENV _ROS_WHEELS_BOOTSTRAP_COMPLETE
empty :=
space := $(empty) $(empty)
export LD_LIBRARY_PATH := $(subst $(space),:,$(filter-out /opt/ros/%,$(subst :,$(space),$(LD_LIBRARY_PATH))))

.DEFAULT_GOAL := help
.PHONY: help setup setup-libero demo test test-slow test-nodes test-noble lint format build dist clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo '  ARGS="..." is passed on, e.g. make demo ARGS="--episodes 3", make test ARGS="test/control -x"'
	@echo '  DISTRO=jazzy takes ROS 2 Jazzy instead of Kilted, LIBS=noble the library versions of Ubuntu 24.04; each in its own .venv'
	@echo '  EXTRAS="..." are installed too, e.g. make setup EXTRAS="onnx language"; all are in extras.cfg'

setup: ## make or update .venv: ROS 2 from wheels, pinned packages, hpt_msgs, hpt_ros
	@command -v $(PYTHON) >/dev/null || { echo "setup: error: $(PYTHON) not found: run 'sudo apt-get install python3 python3-venv python3-dev'" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 7))' || { echo "setup: error: $(PYTHON) is older than Python 3.10: install Python 3.10 to 3.13 and run 'make PYTHON=python3.12 ...'" >&2; exit 1; }
	@HPT_DISTRO=$(DISTRO) HPT_LIBS=$(LIBS) $(PYTHON) tools/setup_env.py $(EXTRAS)

setup-libero: ## make or update .venv-libero, which LIBERO has to itself (400 MB to download, 2 GB)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "setup-libero: error: LIBERO's pinned packages are for Python 3.11 to 3.13: run 'make PYTHON=python3.12 setup-libero'" >&2; exit 1; }
	$(PYTHON) -m venv .venv-libero
	.venv-libero/bin/python -m pip install --disable-pip-version-check --no-deps -r requirements-libero.txt

demo: setup ## run the policy on the simulated robot and compare it with two baselines
	$(BIN)/hpt demo $(ARGS)

# Real time counts in tests of nodes, so they run alone; all others run beside one another. Status 5: none was chosen.
define run_tests
	@ran=""; failed=""; \
	pass() { "$$@"; status=$$?; case $$status in 0) ran=yes ;; 5) ;; *) failed="$$failed $$status" ;; esac; }; \
	pass $(PYTEST) -n auto --maxprocesses 8 -m "not alone$(1)" $(2) $(ARGS); \
	pass $(PYTEST) -m "alone$(1)" $(2) $(ARGS); \
	[ -n "$$ran" ] && [ -z "$$failed" ] || { echo "tests failed: status$${failed:- 5}" >&2; exit 1; }
endef

test: setup ## run the tests, but for the slow ones
	$(call run_tests, and not slow)

test-slow: setup ## run all tests
	$(call run_tests,,--timeout=1800)

test-nodes: setup ## run the tests of nodes, messages and launch files: what differs between ROS distributions
	$(PYTEST) -m "not slow" test/nodes test/build/test_messages.py test/launch $(ARGS)

test-noble: ## run the tests with ROS 2 Jazzy and the NumPy, OpenCV, SciPy ... of Ubuntu 24.04 (wants Python 3.10 to 3.12)
	$(MAKE) test DISTRO=jazzy LIBS=noble

lint: setup ## ruff, mypy, words, schemas of workflows and templates, hadolint
	$(BIN)/python tools/check_words.py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict hpt_ros rosbag_tools
	MYPYPATH=tools $(BIN)/mypy --strict tools
	MYPYPATH=benchmarks $(BIN)/mypy --strict benchmarks
	$(BIN)/mypy test
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/hadolint Dockerfile

format: setup ## let ruff format and fix what it can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

build: setup ## colcon build of hpt_msgs and hpt_ros into install/ (then: source install/setup.bash)
	PATH="$(CURDIR)/$(BIN):$$PATH" AMENT_PREFIX_PATH=$(CURDIR)/$(VENV) CMAKE_PREFIX_PATH=$(CURDIR)/$(VENV) \
	  $(BIN)/colcon build --build-base build$(SUFFIX) --install-base install$(SUFFIX) \
	  --cmake-args -DCMAKE_BUILD_TYPE=Release -DPython3_EXECUTABLE=$(CURDIR)/$(BIN)/python $(ARGS)

dist: setup ## source distribution and wheel into dist/
	rm -rf dist build/lib build/bdist.*
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist'); build_meta.build_wheel('dist')"

clean: ## remove every .venv and everything built
	rm -rf .venv .venv-* build build-* install install-* log dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -path ./.git -prune -o -name __pycache__ -type d -print0 | xargs -0r rm -rf
