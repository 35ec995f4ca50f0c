# shellcheck shell=bash
# Applies the overlay to the cluster of .state/kubeconfig and shows what runs. Sourced.
#   in:  crds/, overlays/dev-local, KUBECONFIG; out: objects in the cluster, a table on standard output

overlay=$checkout/overlays/dev-local
regions=$checkout/overlays/dev-local/regions
regions_wait_seconds=${REGIONS_WAIT_SECONDS:-600}

apply() { kubectl apply --server-side --force-conflicts --field-manager=dev-local "$@"; }

definitions_apply() {
  if [[ -e $checkout/crds/kustomization.yaml ]]; then
    apply -k "$checkout/crds"
  else
    apply -f "$checkout/crds"
  fi
  kubectl wait --for=condition=Established customresourcedefinition --all --timeout=60s
}

# A new definition takes the API server a moment to serve, and a namespace to exist: three tries.
rest_apply() {
  local try
  for try in 1 2 3; do
    if apply -k "$overlay"; then return; fi
    echo "try $try did not apply everything"
    sleep 3
  done
  return 1
}

# A Region's namespaces exist before what is in them: kubectl applies a file in its order.
regions_apply() { apply -k "$regions"; }

# The tag of a development image stays the same, so a Deployment does not see that the image changed.
operator_restart_when_new() {
  local want mark=$here_state/operator-image
  want=$("$cluster" image-id operator)
  if [[ $(cat "$mark" 2>/dev/null) != "$want" ]]; then
    if [[ -s $mark ]]; then kubectl -n bailiwick-system rollout restart deployment/bailiwick-operator; fi
    echo "$want" >"$mark"
  fi
  kubectl -n bailiwick-system rollout status deployment/bailiwick-operator --timeout=180s
}

# $1 region. Waits until it says that it is ready.
region_ready() { kubectl wait --for=condition=Ready "region/$1" --timeout="${regions_wait_seconds}s"; }

apply_overlay() {
  local region
  if [[ ! -e $overlay/kustomization.yaml ]]; then
    echo "overlays/dev-local is not there yet: the cluster runs, nothing is applied"
    return
  fi
  step "definitions (crds)" definitions_apply
  step "overlays/dev-local" rest_apply
  step "operator" operator_restart_when_new
  step "overlays/dev-local/regions" regions_apply
  for region in $(kubectl get regions -o name | sed 's#.*/##'); do
    step "region $region" region_ready "$region"
  done
  echo
  regions_table
}

# Every Service with an address of its own, one line a port.
# shellcheck disable=SC2016 # Go's variables, not the shell's
endpoints() {
  local region template
  template='{{range .items}}{{$service := .}}{{if ne .spec.clusterIP "None"}}{{range .spec.ports}}'
  template+='{{$service.metadata.name}}.{{$service.metadata.namespace}}.svc {{$service.spec.clusterIP}}:{{.port}}{{"\n"}}'
  template+='{{end}}{{end}}{{end}}'
  for region in "$@"; do kubectl -n "$region" get services -o "go-template=$template"; done | awk '{printf "  %-44s %s\n", $1, $2}'
}

# Regions, endpoints, how to get credentials, what to do next.
regions_table() {
  local regions
  if ! kubectl get regions --request-timeout 10s 2>/dev/null; then
    echo "no Regions are served: make dev applies overlays/dev-local when it exists"
    return
  fi
  mapfile -t regions < <(kubectl get regions -o name | sed 's#.*/##')
  if ((${#regions[@]} == 0)); then return; fi
  printf '\nEndpoints, within the cluster:\n'
  endpoints "${regions[@]}"
  cat <<NEXT

Credentials are in the Secrets of each Region's namespace, one a role (host, port, dbname, user, password, uri, ca.crt).
Next:
  export KUBECONFIG=$kubeconfig
  kubectl describe region ${regions[0]}
  kubectl -n ${regions[0]} get pods,secrets
  kubectl -n ${regions[0]} get secret NAME -o go-template='{{.data.uri | base64decode}}'
  make dev-status, dev-logs, dev-reset, dev-down
NEXT
}
