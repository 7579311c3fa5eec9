.DEFAULT_GOAL := help
.PHONY: help install demo test quick lint format types ci

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install:  ## the program and its development tools, in .venv
	python3 -m venv .venv && .venv/bin/pip install -q -e ".[dev]"

demo:  ## the whole story on drawn data
	.venv/bin/rightreasons demo

test:  ## all tests
	.venv/bin/pytest

quick:  ## tests without real data, browser and slow ones
	.venv/bin/pytest -m "not data and not browser and not slow"

lint:  ## what a reviewer need not say
	.venv/bin/ruff check . && .venv/bin/ruff format --check .

format:  ## format the code
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

types:  ## strict types
	.venv/bin/mypy

ci:  ## everything a merge has to pass
	bash .ci/run
