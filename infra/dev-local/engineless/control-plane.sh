# shellcheck shell=bash
# The control plane of the hub: certificates, static pods and add-ons, by kubeadm's phases. Sourced.
#   in:  settings.sh, node.sh, a running node cp-1; out: its /etc/kubernetes, kubeconfigs, add-ons

kubeadm() { enter "$hub" kubeadm "$@"; }

kubernetes_version() { image_ref kube-apiserver | sed 's/.*://'; }

# The API server's certificate names the machine's link, whose address another checkout may have taken meanwhile.
control_plane_settings() {
  local hub_side
  read -r _ hub_side <"$state/machine-link"
  render kubeadm.yaml address="${node_address[$hub]}" machine_address="$hub_side" node="$hub" \
    version="$(kubernetes_version)" etcd="$(image_ref etcd | sed 's/.*://')" coredns="$(image_ref coredns | sed 's/.*://')" \
    pods="$pod_range" services="$service_range"
}

# Certificates, keys and manifests of the static pods; written anew when what they depend on changed.
control_plane_configure() {
  local disk etc want key
  disk=$(disk_of "$hub")
  etc=$disk/kubernetes
  control_plane_settings >"$disk/config/kubeadm.yaml"
  cp "$engineless/manifests/audit-policy.yaml" "$disk/config/audit-policy.yaml"
  want=$(cat "$disk/config/kubeadm.yaml" "$disk/config/audit-policy.yaml" "$bin/kubeadm" | sha256sum)
  if [[ $(cat "$disk/config/configured" 2>/dev/null) == "$want" ]]; then return; fi

  # A run that was killed here leaves no half of a key behind: authorities are kept only when whole.
  [[ -e $disk/config/configured ]] || rm -rf "${etc:?}"/*
  rm -f "$etc"/pki/apiserver.{crt,key} "$etc"/{admin,super-admin,controller-manager,scheduler}.conf
  mkdir -p "$etc/audit" "$etc/encryption"
  chmod 0700 "$etc/encryption"
  cp "$disk/config/audit-policy.yaml" "$etc/audit/policy.yaml"
  if [[ ! -s $etc/encryption/config.yaml ]]; then
    key=$(head -c 32 /dev/urandom | base64)
    (umask 077 && render encryption.yaml key="$key" >"$etc/encryption/config.part")
    mv "$etc/encryption/config.part" "$etc/encryption/config.yaml"
  fi
  kubeadm init phase certs all --config /run/node/config/kubeadm.yaml
  kubeadm init phase kubeconfig all --config /run/node/config/kubeadm.yaml
  kubeadm init phase etcd local --config /run/node/config/kubeadm.yaml
  kubeadm init phase control-plane all --config /run/node/config/kubeadm.yaml
  echo "$want" >"$disk/config/configured"
}

# $1 user, $2 its group or empty; prints a kubeconfig.
credentials() {
  kubeadm kubeconfig user --config /run/node/config/kubeadm.yaml --client-name "$1" ${2:+--org "$2"} 2>/dev/null
}

# $1 node. The kubelet's and the policy enforcer's kubeconfig, and the authority's certificate.
node_credentials() {
  local node=$1 etc
  etc=$(disk_of "$node")/kubernetes
  if [[ -e $etc/given && -s $etc/kube-router.conf && $(cat "$etc/given") == "$(sha256sum <"$(disk_of "$hub")/kubernetes/pki/ca.crt")" ]]; then return; fi
  mkdir -p "$etc/pki" "$etc/manifests"
  [[ $node == "$hub" ]] || cp "$(disk_of "$hub")/kubernetes/pki/ca.crt" "$etc/pki/ca.crt"
  (
    umask 077
    credentials "system:node:$node" system:nodes >"$etc/kubelet.part"
    mv "$etc/kubelet.part" "$etc/kubelet.conf"
    credentials kube-router '' >"$etc/kube-router.part"
    mv "$etc/kube-router.part" "$etc/kube-router.conf"
  )
  sha256sum <"$(disk_of "$hub")/kubernetes/pki/ca.crt" >"$etc/given"
}

# The kubeconfig for the machine: through the link, as a cluster administrator.
machine_credentials() {
  local hub_side
  read -r _ hub_side <"$state/machine-link"
  if [[ -s $kubeconfig ]] && grep -qF "https://$hub_side:6443" "$kubeconfig" && kube --request-timeout 2s get --raw /readyz >/dev/null 2>&1; then return; fi
  mkdir -p "$(dirname "$kubeconfig")"
  (
    umask 077
    credentials kubernetes-admin system:masters | sed "s#https://${node_address[$hub]}:6443#https://$hub_side:6443#; s#kubernetes-admin@kubernetes#bailiwick-dev#" >"$kubeconfig.part"
    mv "$kubeconfig.part" "$kubeconfig"
  )
}

kube() { "$bin/kubectl" --kubeconfig "$kubeconfig" --request-timeout 30s "$@"; }

api_ready() {
  for _ in $(seq 600); do
    # An API server that is starting may take a request and not answer it.
    if kube --request-timeout 2s get --raw /readyz >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  echo "the API server does not become ready: see $(disk_of "$hub")/pods and $(disk_of "$hub")/log/kubelet.log" >&2
  return 1
}

# What the enforcers and the API server itself may do; nodes need both before anything else.
rights_apply() {
  local mark want
  mark=$(disk_of "$hub")/config/rights
  want=$(sha256sum <"$engineless/manifests/rights.yaml")
  if [[ $(cat "$mark" 2>/dev/null) == "$want" ]]; then return; fi
  kube apply -f "$engineless/manifests/rights.yaml"
  echo "$want" >"$mark"
}

# $1 node. True when its kubelet has renewed its lease since the node was started: until the control plane
# misses a heartbeat, a dead node is Ready as well.
node_reported() {
  local renewed started
  started=$(stat -c %Y "$(disk_of "$1")/config/started" 2>/dev/null || echo 0)
  renewed=$(kube -n kube-node-lease get lease "$1" -o 'jsonpath={.spec.renewTime}' 2>/dev/null) || return 1
  (($(date -d "$renewed" +%s) > started))
}

nodes_ready() {
  local node
  for node in "${nodes[@]}"; do
    for _ in $(seq 300); do
      if node_reported "$node"; then continue 2; fi
      sleep 0.2
    done
    echo "the kubelet of $node does not report: see $(disk_of "$node")/log/kubelet.log" >&2
    return 1
  done
  kube label node "$hub" node-role.kubernetes.io/control-plane= --overwrite >/dev/null
  kube --request-timeout 0 wait --for=condition=Ready node "${nodes[@]}" --timeout=120s
}

# Asks the cluster's DNS for the API server from every node, through the Service, until each of its pods answers.
names_answered() {
  local node told
  for node in "${nodes[@]}"; do
    for _ in $(seq 200); do
      if told=$(in_namespace "$(namespace_of "$node")" "$engineless/ask-name.py" \
        "$cluster_dns" kubernetes.default.svc.cluster.local "$api_service" 8 2>&1); then continue 2; fi
      sleep 0.3
    done
    echo "on $node $told: see kubectl -n kube-system logs -l k8s-app=kube-dns" >&2
    return 1
  done
}

# kube-proxy, cluster DNS and storage; sent only when something about them changed.
addons_apply() {
  local disk want
  disk=$(disk_of "$hub")
  want=$({
    cat "$disk/config/kubeadm.yaml" "$engineless"/manifests/{local-path,coredns}.yaml
    image_ref local-path-provisioner
    image_ref probe
  } | sha256sum)
  if [[ $(cat "$disk/config/addons" 2>/dev/null) != "$want" ]]; then
    kubeadm init phase addon all --config /run/node/config/kubeadm.yaml
    kube apply --server-side --force-conflicts --field-manager bailiwick-dev -f "$engineless/manifests/coredns.yaml"
    # Its own look for changes takes a minute and more.
    kube -n kube-system rollout restart deployment/coredns
    render local-path.yaml image="$(image_ref local-path-provisioner)" probe="$(image_ref probe)" | kube apply -f -
    echo "$want" >"$disk/config/addons"
  fi
  kube --request-timeout 0 -n kube-system rollout status daemonset/kube-proxy --timeout=120s
  kube --request-timeout 0 -n kube-system rollout status deployment/coredns --timeout=120s
  kube --request-timeout 0 -n local-path-storage rollout status deployment/local-path-provisioner --timeout=120s
  # What a Deployment says may be from before a restart.
  names_answered
}
