# What there is to do; `make help` lists it.

.DEFAULT_GOAL := help
.PHONY: help build demo test lint fuzz bench-sim deny

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 11

build: ## builds target/release/selvedge, after installing what the build needs
	@scripts/install-deps build
	cargo build --release --package selvedge-host

demo: ## shows three nodes on this machine: traffic, a cut, its healing
	@scripts/install-deps build demo
	cargo build --release --package selvedge-host
	@scripts/as-root target/release/selvedge lab demo

test: ## runs every check and every test
	@scripts/install-deps build test
	@scripts/test

lint: ## checks format, lints and docs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

fuzz: ## grows the fuzz corpus: FUZZ_SECONDS (60) for each target
	@scripts/install-deps build fuzz
	fuzz/run

bench-sim: ## measures how the simulator and control scale, against their goals; also into target/bench-sim.json
	@scripts/install-deps build
	cargo bench --package selvedge-tests --bench scale -- $(CURDIR)/target/bench-sim.json

deny: ## checks licences, banned crates and advisories of all dependencies
	@scripts/deny
