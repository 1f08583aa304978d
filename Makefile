# One door to everything: `make demo` and `make test` do all that they need on a bare Debian machine.
# What is built or downloaded lives outside the checkout (deploy/setup/paths.sh), so a fresh clone is quick.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Every recipe runs in the environment that the set-up made. It is one line, for `make` runs each apart.
ENTER := source deploy/setup/paths.sh; export PATH="$$HOME/.cargo/bin:$$PATH";

.PHONY: help setup build models demo test lint lint-deploy deny env serve rivals

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: ## install system packages, the Python environment and libtorch; nothing where they are there
	@for script in system python libtorch; do deploy/setup/$$script.sh; done

build: setup ## compile `sidereus` and `sidereus-encoder`
	@$(ENTER) cargo build --release --locked --bins

models: setup ## fetch the demo's data and make the model directories
	@for script in data models; do deploy/setup/$$script.sh; done

demo: build models ## import two real catalogues, encode them, and search them
	@$(ENTER) deploy/demo/demo.sh

test: build models ## formatting, unit tests, integration tests, documentation tests
	@$(ENTER) cargo fmt --check
	@$(ENTER) cargo test --release --locked

serve: build models ## run a server with the demo's models, its data in the cache folder
	@$(ENTER) exec "$$CARGO_TARGET_DIR/release/sidereus" serve --data "$$SIDEREUS_CACHE/serve" --models "$$SIDEREUS_MODELS"

lint: setup ## clippy and rustdoc without a warning
	@$(ENTER) cargo clippy --release --locked --all-targets -- -D warnings
	@$(ENTER) RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --lib

lint-deploy: setup ## check units, images, charts, rules and dashboards (installs linters the first time)
	@$(ENTER) deploy/setup/lint.sh; "$$SIDEREUS_CACHE/lint/bin/python" deploy/lint.py; deploy/systemd/verify.sh

rivals: build ## measure Sidereus beside its rivals on this machine; ARGS="--size small|200k|1m|glove|all ..."
	@$(ENTER) benches/rivals/run.sh $(ARGS)

deny: setup ## licences and duplicates of the dependencies (installs cargo-deny the first time)
	@$(ENTER) \
	command -v "$$SIDEREUS_CACHE/tools/bin/cargo-deny" >/dev/null \
	  || cargo install cargo-deny --locked --quiet --root "$$SIDEREUS_CACHE/tools"; \
	"$$SIDEREUS_CACHE/tools/bin/cargo-deny" check licenses bans sources

env: ## print the environment for working by hand: eval "$$(make env)"
	@$(ENTER) for name in SIDEREUS_CACHE CARGO_TARGET_DIR LIBTORCH SIDEREUS_DATA SIDEREUS_MODELS PATH; do \
	  printf 'export %s=%q\n' "$$name" "$${!name}"; done
