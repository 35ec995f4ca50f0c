#!/usr/bin/env bash
# Lints every manifest that is applied: the overlays as Kustomize builds them, and what the operator makes of each of
# their Regions.
#   in:  a checkout; kubectl and kube-score of the engine-less cluster's commands; cargo
#   out: one line a finding, then how many manifests were looked at; exit status 1 when something was found
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${BAILIWICK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bailiwick}
cd "$checkout"
if [[ -z ${BAILIWICK_BUILT:-} ]]; then
  infra/dev-local/engineless/binaries.sh kubernetes kube-score
  cargo build --quiet --locked --workspace --bins
fi
operator=${CARGO_TARGET_DIR:-target}/debug/bailiwick-operator
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What is waived, for every object, and why. Three reasons at most.
waivers=(
  # 1. A limit on CPU throttles: a primary that is throttled misses the renewal of its leader lease, and a failover follows
  #    for nothing. Memory is limited everywhere.
  --ignore-container-cpu-limit
  # 2. Images are named by a version that is never built twice, by digest where one is known: pulling again brings nothing
  #    new and would make each restart wait for a registry.
  --ignore-test container-image-pull-policy
  # 3. Some selectors match pods that no manifest holds: Patroni labels the primary and the replicas, Jobs come and go, and
  #    the namespaces for drills and observability are denied before anything is in them.
  --ignore-test service-targets-pod
  --ignore-test networkpolicy-targets-pod
)

# What one object's own annotation waives. The start fence's responder has no NetworkPolicy: one would make "closed" say
# nothing (platform/fence/namespace.yaml).
own_waivers='kube-score/ignore: pod-networkpolicy'

for overlay in overlays/*/; do
  "$cache/bin/kubectl" kustomize "$overlay" >>"$work/manifests.yaml"
  echo --- >>"$work/manifests.yaml"
  for region in "$overlay"regions/*.yaml; do
    [[ $(basename "$region") != kustomization.yaml ]] || continue
    "$operator" render "$region" >>"$work/manifests.yaml" 2>"$work/said" ||
      { cat "$work/said" >&2; exit 1; }
    echo --- >>"$work/manifests.yaml"
  done
done
count=$(grep -c '^kind: ' "$work/manifests.yaml" || true)
# An empty list would be found to be faultless.
((count >= 90)) || { echo "lint: only $count manifests were rendered, expected 90 at least" >&2; exit 1; }

waived=$(grep -F 'kube-score/ignore' "$work/manifests.yaml" | sed 's/^ *//' | sort -u || true)
[[ $waived == "$own_waivers" ]] ||
  { printf 'lint: manifests waive for themselves\n%s\nexpected\n%s\n' "$waived" "$own_waivers" >&2; exit 1; }

# A linter that lets this pass would let everything pass.
bad='{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": {"containers": [
  {"name": "bad", "image": "bad:latest", "securityContext": {"privileged": true}}]}}'
said=$("$cache/bin/kube-score" score --output-format ci "${waivers[@]}" - <<<"$bad" 2>&1 || true)
for fault in "privileged" "Image with latest tag"; do
  grep -qi "^\[CRITICAL\].*$fault" <<<"$said" ||
    { echo "$said" >&2; echo "lint: kube-score does not tell of a pod: $fault" >&2; exit 1; }
done

status=0
"$cache/bin/kube-score" score --kubernetes-version v1.33 --output-format ci "${waivers[@]}" - <"$work/manifests.yaml" \
  >"$work/found" || status=$?
grep '^\[CRITICAL\]' "$work/found" >&2 || true
found=$(grep -c '^\[CRITICAL\]' "$work/found" || true)
checked=$(grep -c '^\[OK\]' "$work/found" || true)
((checked > 0)) || { cat "$work/found" >&2; echo "lint: kube-score checked nothing" >&2; exit 1; }
echo "lint: $count manifests, $checked checks passed, $found failed, 4 waivers (infra/lint.sh)"
((found == 0 && status == 0))
