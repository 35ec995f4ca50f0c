#!/usr/bin/env bash
# Runs the long campaigns, each a suite that ends by itself and can be repeated alone, with the operator's release binary in
# the engine-less cluster of make dev.
#   in:  a checkout with its cluster; out: what each said, a table, a last line "N passed, N failed", and a line a suite in
#        .state/soak.tsv: suite, when it ended (UTC), commit, passed, failed, seconds, figures; exit status 1 when one failed
# usage: soak.sh [SUITE...]     all of them without a SUITE; a suite is the case soak-SUITE of the end-to-end suite
set -uo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$checkout" || exit 1
suites=$checkout/.state/soak
counts=$checkout/.state/soak.tsv
source infra/suites.sh
# No suite may take longer.
readonly longest=2400

end_to_end() { cargo test --quiet --locked --workspace --test e2e -- "$@"; }

all=$(end_to_end --list | sed -n 's/^soak-\(.*\): test$/\1/p')
[[ -n $all ]] || { echo "soak: the end-to-end suite lists no case called soak-..." >&2; exit 1; }
chosen=()
for name in "$@"; do
  name=${name#soak-}
  grep -qxF "$name" <<<"$all" || { printf 'soak: there is no suite %s; there are\n%s\n' "$name" "$all" >&2; exit 2; }
  chosen+=("$name")
done
((${#chosen[@]})) || mapfile -t chosen <<<"$all"

commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
# What was not committed was tested as well.
[[ -z $(git status --porcelain 2>/dev/null) ]] || commit+=+
suites_start
suite "operator" 0 "$longest" env OPERATOR_PROFILE=release infra/dev-local/dev.sh operator || { suites_table; exit 1; }
[[ -s $counts ]] || printf 'suite\tended\tcommit\tpassed\tfailed\tseconds\tfigures\n' >"$counts"
for name in "${chosen[@]}"; do
  suite "$name" 1 "$longest" cargo test --quiet --locked --workspace --test e2e -- "soak-$name"
  # The case's own line, or why there is none.
  figures=$(sed -nE "s/^(ok|FAILED) +soak-$name [0-9.]+ s: //p" "$suites/$name.log" | head -n 1 | tr '\t' ' ')
  awk -F'\t' -v OFS='\t' -v suite="$name" -v ended="$(date -u +%FT%TZ)" -v commit="$commit" -v figures="$figures" '
    $1 == suite { print suite, ended, commit, $3, $4, $2, (figures == "" ? $6 : figures) }' "$suites/results.tsv" >>"$counts"
done
suites_table
