#!/usr/bin/env bash
# Compares the features that dependencies have in the programs (`cargo build --workspace --bins`) with those that they have
# in the tests (`cargo test --workspace`): where they differ, cargo builds the dependency, and all that depends on it, twice.
#   in:  a checkout; out: a line a dependency that differs; exit status 1 when there is one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Prints a line a package: name, version and features. A package that build scripts need too may be there twice.
features() {
  cargo tree --locked --workspace --prefix none --format '{p} {f}' "$@" | sed 's/ (\*)$//' | sort -u
}

programs=$(features --edges normal,build)
tests=$(features --edges normal,build,dev)
count=$(wc -l <<<"$programs")
((count >= 100)) || { echo "features: only $count dependencies were found, expected 100 at least" >&2; exit 1; }
# What only programs have, of packages that tests have too.
differ=$(comm -23 <(echo "$programs") <(echo "$tests") |
  awk 'NR == FNR { known[$1, $2] = 1; next } ($1, $2) in known' <(echo "$tests") -)
[[ -z $differ ]] || {
  printf 'features: tests build these anew with other features; name those in operator/e2e/Cargo.toml\n%s\n' "$differ" >&2
  exit 1
}
