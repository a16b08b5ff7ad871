# make demo   sets up, builds, and runs the program on a sample clip
# make test   sets up, builds, and runs all checks and tests
# make bench-live  measures the live view beside MediaPipe's Face Mesh (needs Xvfb)
# make wheel  builds the Python package, with all libraries inside, and tests it in a fresh environment
# make corpus-test  runs the corpus command on Ray, two nodes on this machine (after make wheel; takes minutes)
# make bench  compares the networks' and the program's speed with ONNX Runtime, LiteRT and MediaPipe

PROGRAM = target/release/lanet-live
CLIP = target/media/WolfgangLanger_Pexels.mp4

.PHONY: demo test lint bench bench-live build setup media golden wheel corpus-test dist

demo: build media
	@mkdir -p demo
	@$(PROGRAM) --input $(CLIP) --output demo/overlay.mp4 --results demo/results.jsonl --timeline demo/timeline.png -y

test: setup media golden lint
	cargo test --release --locked

# rustfmt and clippy are parts of a toolchain that may be left out.
lint: setup
	@if cargo fmt --version >/dev/null 2>&1; then cargo fmt --check; else echo "no rustfmt: formatting not checked"; fi
	@if cargo clippy --version >/dev/null 2>&1; then cargo clippy --release --locked --all-targets -- -D warnings && \
	cargo clippy --release --locked --no-default-features -- -D warnings && \
	cargo clippy --release --locked --no-default-features --features cli -- -D warnings; \
	else echo "no clippy: lints not checked"; fi
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --quiet

bench: build media
	scripts/bench.sh

bench-live: build media
	scripts/bench_live.sh

wheel: setup
	scripts/wheel.sh

dist: setup media
	scripts/dist.sh

corpus-test: media
	scripts/corpus_test.sh

build: setup
	cargo build --release --locked

setup:
	@scripts/setup.sh $(if $(filter test golden,$(MAKECMDGOALS)),--tests)

media: setup
	@python3 scripts/media.py

golden: setup media
	@scripts/python.sh scripts/make_golden.py
	@python3 scripts/group_photos.py
