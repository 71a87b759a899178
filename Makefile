# Thin: every target is one command that can be typed without make. Read by GNU make and BSD make alike.
PYTHON?=	python3
VENV=		.venv
BIN=		$(VENV)/bin

.PHONY: help venv lab test test-full reliability bench vm lint unit drift site release sh hosts down clean

help:
	@echo 'make venv       Ansible and its collections, pinned, in .venv'
	@echo 'make lab        provision a practice host on this machine and send mail through it'
	@echo 'make test       all tests, the heavy ones in a reduced number (under 20 minutes)'
	@echo 'make test-full  all tests at full size (under 80 minutes)'
	@echo 'make unit       of all tests, those that need no host'
	@echo 'make reliability  what docs/reliability.md shows, measured again (80 minutes at most; PART=name for some)'
	@echo 'make bench      one message by this host and by others, docs/performance.md (80 minutes; ARMS="ours ceiling", QUICK=1)'
	@echo 'make vm         all of it on a real FreeBSD in a virtual machine (docs/vm.md)'
	@echo 'make lint       ruff, shellcheck, ansible-lint, yamllint'
	@echo 'make site       the documentation as a site, .cache/site/html/index.html'
	@echo 'make release    what a release would be, in .cache/release (RELEASE=version; REALLY=1 makes the tag)'
	@echo 'make drift      what on the hosts no longer matches the inventory (tools/drift has options)'
	@echo 'make sh HOST=h  a shell in the lab; make hosts lists its hosts; make down takes it down'
	@echo 'make clean      take the lab down and remove .venv and .cache'

venv:
	@sh tools/setup $(PYTHON) $(VENV)

lab: venv
	@$(BIN)/python tools/run lab

test: venv
	@$(BIN)/python tools/run test

test-full: venv
	@$(BIN)/python tools/run test --full

reliability: venv
	@$(BIN)/python tools/run reliability $(PART)

bench: venv
	@$(BIN)/python tools/run bench --arms "$(ARMS)" $${QUICK:+--quick} $${ANYWAY:+--anyway} $${MINUTES:+--minutes $$MINUTES}

vm: venv
	@$(BIN)/python tools/run vm

lint: venv
	@$(BIN)/python tools/run lint

unit: venv
	@$(BIN)/python tools/run unit

drift: venv
	@$(BIN)/python tools/drift

site:
	@sh tools/site $(PYTHON) .cache/site/venv .cache/site/html
	@echo 'sokuhai: .cache/site/html/index.html'

release:
	@$(PYTHON) tools/release $(RELEASE) $${REALLY:+--really}

sh: venv
	@lab/lab sh $${HOST:-mx.home.example}

hosts: venv
	@lab/lab hosts

down:
	@lab/lab down

clean: down
	rm -rf $(VENV) .cache
