# What there is to do; `make help` lists it.

.DEFAULT_GOAL := help
.PHONY: help build demo test lint fuzz bench bench-leases bench-packets bench-sim chaos deny

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

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

bench: bench-packets ## measures the data path beside kernel VXLAN and plain routes, against its goals; also into target/bench.json
	@scripts/install-deps build demo bench
	cargo build --release --package selvedge-host
	cargo bench --package selvedge-tests --bench data_path --config 'target."cfg(all())".runner = "$(CURDIR)/scripts/as-root"' \
		-- --program $(CURDIR)/target/release/selvedge --json $(CURDIR)/target/bench.json $(BENCH_FLAGS)

bench-packets: ## measures what forwarding, cutting and merging cost for each packet; also into target/bench-packets.json
	@scripts/install-deps build
	cargo bench --package selvedge-tests --bench packets -- $(CURDIR)/target/bench-packets.json

bench-sim: ## measures how the simulator and control scale, against their goals; also into target/bench-sim.json
	@scripts/install-deps build
	cargo bench --package selvedge-tests --bench scale -- $(CURDIR)/target/bench-sim.json

chaos: ## changes each kind of object behind the daemon's back, CHAOS_FLAGS (--rounds 3) times; also into target/chaos.json
	@scripts/install-deps build test
	cargo build --release --package selvedge-host
	cargo bench --package selvedge-tests --bench chaos --config 'target."cfg(all())".runner = "$(CURDIR)/scripts/as-root"' \
		-- --program $(CURDIR)/target/release/selvedge --json $(CURDIR)/target/chaos.json $(CHAOS_FLAGS)

bench-leases: ## measures what 200 to 5,000 leases cost a node's kernel and the daemon; also into target/bench-leases.json
	@scripts/install-deps build test
	cargo build --release --package selvedge-host
	cargo bench --package selvedge-tests --bench leases --config 'target."cfg(all())".runner = "$(CURDIR)/scripts/as-root"' \
		-- --program $(CURDIR)/target/release/selvedge --json $(CURDIR)/target/bench-leases.json

deny: ## checks licences, banned crates and advisories of all dependencies
	@scripts/deny
