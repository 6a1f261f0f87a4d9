# run serves the app; quick runs the tests that need no file, test every test, proof repeats the proofs in full, coverage
# prints the lines of lib that no test runs, soak loads a gateway for MINUTES, fuzz sends odd bytes for SECONDS; lint
# checks style and types, bench prints the measured numbers, ocr adds text recognition, lock rewrites constraints.txt,
# audit looks up its advisories (online). Each makes what it needs. PORT, LLM_MANAGER_DATA and DATABASE_URL are read.
.PHONY: run quick test proof coverage soak fuzz lint bench lock audit ocr environment environment-dev clean
VENV := .venv/bin/python
TESTS ?= tests
SIDE_BY_SIDE := -n 3 --dist loadfile --no-loadscope-reorder
MINUTES ?= 30
SECONDS ?= 300

run: environment
	@$(VENV) -m lib migrate
	@exec $(VENV) -m lib serve

test: environment-dev
	@browser=$$(sh scripts/find_browser.sh) && LLM_MANAGER_BROWSER="$$browser" $(VENV) -m pytest $(SIDE_BY_SIDE) $(TESTS)

quick: environment-dev
	@$(VENV) -m pytest $(SIDE_BY_SIDE) -m quick $(TESTS)

proof: environment-dev
	@browser=$$(sh scripts/find_browser.sh) && LLM_MANAGER_PROOF=1 LLM_MANAGER_BROWSER="$$browser" \
		$(VENV) -m pytest $(SIDE_BY_SIDE) $(TESTS)

coverage: environment-dev
	@rm -f .coverage .coverage.*
	@browser=$$(sh scripts/find_browser.sh) && LLM_MANAGER_BROWSER="$$browser" \
		$(VENV) -m coverage run -m pytest $(SIDE_BY_SIDE) $(TESTS)
	@$(VENV) -m coverage combine -q && $(VENV) -m coverage report

soak: environment-dev
	@$(VENV) benchmarks/soak.py --minutes $(MINUTES)

fuzz: environment-dev
	@$(VENV) -m tests.fuzz --seconds $(SECONDS)

lint: environment-dev
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy

bench: environment-dev
	@browser=$$(sh scripts/find_browser.sh) && for script in $$(ls benchmarks/*.py | grep -v soak); do \
		LLM_MANAGER_BROWSER="$$browser" $(VENV) $$script || exit 1; done

lock: environment-dev
	@$(VENV) scripts/lock.py

audit: environment-dev
	@$(VENV) scripts/audit.py

ocr: environment
	@$(VENV) -m pip install --quiet --disable-pip-version-check -r requirements-ocr.txt -c constraints.txt

environment:
	@python=$$(sh scripts/find_python.sh) && "$$python" scripts/install.py run

environment-dev:
	@python=$$(sh scripts/find_python.sh) && "$$python" scripts/install.py dev

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
