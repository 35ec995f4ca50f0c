#!/usr/bin/env bash
# Holds the model crate to being pure without building it alone: on its own it resolves fewer features of its dependencies
# than the workspace does, and cargo would build a second stack of them (81 of 898 compiled units).
#   in:  a checkout; out: a line with what was counted; exit status 1 when the model can reach a client or a runtime
# Three things stand for the build alone: what the model depends on, resolved alone, has no client and no runtime; of what
# it depends on directly, the workspace adds features to kube only; and of kube the sources name only what is there without
# those features.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

model=bailiwick-model
sources=(operator/model/src operator/api/src)
# Asynchronous runtimes, HTTP, TLS, sockets and whoever brings them.
impure=(
  kube-client kube-runtime tokio tokio-util tokio-rustls futures futures-util async-trait tower hyper hyper-util
  hyper-rustls reqwest rustls mio socket2 aws-sdk-s3 aws-sigv4 tokio-postgres prometheus-client tracing-subscriber
)
# What kube has without the features client, config and runtime.
of_kube='core|Resource|ResourceExt|CustomResource|CustomResourceExt|KubeSchema'

say() { printf 'pure: %s\n' "$*" >&2; }
# $1 the rest of cargo tree's arguments; prints the names of crates, each once.
crates() { cargo tree --locked --edges normal --prefix none --format '{p}' "$@" | awk '{print $1}' | sort -u; }
# Prints a line a direct dependency of the model: name and features.
features() { sed 's/ (\*)$//' | awk -F'|' '{split($1, p, " "); print p[1] "|" $2}' | sort -u; }

status=0
alone=$(crates --package "$model" --all-features)
everything=$(crates --workspace)
count=$(wc -l <<<"$alone")
# A list that was not resolved would have nothing to deny.
((count >= 60)) || { say "only $count crates were found, expected 60 at least"; exit 1; }
for crate in "${impure[@]}"; do
  if grep -qx "$crate" <<<"$alone"; then
    say "$model depends on $crate: see cargo tree --package $model --invert $crate"
    status=1
  fi
  # A name that nothing in the workspace has would be denied in vain.
  grep -qx "$crate" <<<"$everything" || { say "no crate of the workspace is called $crate: correct the list"; status=1; }
done

direct=$(cargo tree --locked --edges normal --prefix none --depth 1 --package "$model" --format '{p}|{f}' | features)
(($(wc -l <<<"$direct") >= 10)) || { say "cargo tree shows too few direct dependencies of $model: $direct"; exit 1; }
united=$(cargo tree --locked --edges normal --prefix none --workspace --format '{p}|{f}' | features)
while IFS='|' read -r crate own; do
  # kube's are the ones that the sources are looked through for; the others are of this workspace.
  case $crate in kube | bailiwick-*) continue ;; esac
  if ! grep -qxF "$crate|$own" <<<"$united"; then
    say "the workspace adds features to $crate, which $model depends on: say here what of it the model may name"
    status=1
  fi
done <<<"$direct"

# Prints file:path of what is named of kube and needs a feature that the model does not ask for. $@ files.
named() {
  # shellcheck disable=SC2016 # Perl's variables
  perl -0777 -ne '
    BEGIN { $allowed = shift @ARGV }
    while (/\b(?:kube\s*::\s*(\{(?:[^{}]|\{[^{}]*\})*\}|[A-Za-z_]\w*|\*)|(use\s+(?:::)?kube\s*(?:;|as\b).*))/g) {
      my $what = defined $1 ? $1 : $2;
      my @names = $what =~ /^\{/ ? map { /^\s*([A-Za-z_]\w*|\*)/ ? $1 : () } split(/,/, substr($what, 1, -1)) : ($what);
      for (@names) { print "$ARGV: kube::$_\n" unless /^(?:$allowed)$/ }
    }' "$of_kube" "$@"
}
mapfile -t files < <(find "${sources[@]}" -name '*.rs')
uses=$(cat "${files[@]}" | grep -c 'kube::' || true)
((uses >= 5)) || { say "only $uses lines of ${sources[*]} name kube, expected 5 at least"; exit 1; }
# A look that lets this pass would let everything pass.
probe=$(printf 'use kube::{Api, Resource};\nfn f(_: kube::Client) {}\nuse kube::runtime::watcher;\n' | named - | wc -l)
((probe == 3)) || { say "the look through the sources finds $probe of 3 planted uses"; exit 1; }
found=$(named "${files[@]}")
if [[ -n $found ]]; then
  say "the model names what needs a client or a runtime:"
  printf '%s\n' "$found" >&2
  status=1
fi
((status == 0)) || exit 1
echo "pure: $model alone has $count crates, none of ${#impure[@]} with I/O; what ${#files[@]} files name of kube ($uses lines) needs none"
