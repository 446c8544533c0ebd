# Recipes for `just`; each line also works without it. Install: cargo install just, or apt-get install just.

[private]
default:
    @just --list --unsorted

# Formatting, lints and the library's own tests: before each commit
quick: format lint library

# Checks the formatting; `cargo fmt --all` changes it
format:
    cargo fmt --all --check

# Clippy over everything, tests included
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The library's own tests, or those whose names contain NAME
library NAME="":
    cargo test --package idempotency --lib --locked --all-features -- {{NAME}}

# Tests of the whole workspace whose names contain NAME
test NAME:
    cargo test --workspace --locked {{NAME}}

# Deploys the application onto an emulator of AWS and checks it from outside
foreign *ARGS:
    tests/foreign/run {{ARGS}}

# Everything that must pass before a change is merged; installs missing tools
gate:
    .ci/run

# Says what changed in the public API since the record; `--record` writes the record anew
public-api *ARGS:
    .ci/public-api {{ARGS}}

# Says whether the public API breaks users of REVISION; needs `cargo install cargo-semver-checks --locked`
semver REVISION:
    cargo semver-checks --package idempotency --all-features --baseline-rev {{REVISION}}

# The documentation as a site, in target/site-pages
site:
    npm ci --prefix tests/browser --no-audit --no-fund
    .ci/site

# The long proofs, overnight; results go to FILE, from which a later run continues
soak FILE="target/soak.txt" *ARGS:
    cargo run --release --package tests --bin soak -- {{FILE}} {{ARGS}}

# The whole application on this machine
local *ARGS:
    cargo run --package local -- {{ARGS}}

# The benchmark; `just bench instructions` counts instructions against the baseline
bench *ARGS:
    cargo run --release --package bench -- {{ARGS}}
