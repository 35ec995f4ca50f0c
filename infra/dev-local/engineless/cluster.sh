#!/usr/bin/env bash
# A Kubernetes cluster of three nodes on one Linux machine without a container engine.
#   in:  commands (binaries.sh), images (images.sh), root; out: a running cluster, .state/kubeconfig
# usage: cluster.sh preflight | up | load | down | erase | reset | status | logs [NODE] | enter NODE COMMAND... | image-id NAME
#   up      starts what does not run; a second run takes seconds
#   load    builds the platform's images and loads those that changed; the operator as OPERATOR_PROFILE has it, debug by default
#   down    ends and removes everything but the nodes' disks, so that up goes on where it was
#   erase   down, and the disks with all data too; reset is erase and up
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source-path=SCRIPTDIR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/settings.sh"
source "$here/progress.sh"
source "$here/processes.sh"
source "$here/preflight.sh"
source "$here/network.sh"
source "$here/node.sh"
source "$here/packet-filter.sh"
source "$here/control-plane.sh"
source "$here/outside/outside.sh"

require_root() {
  if ((EUID != 0)); then echo "the engine-less cluster makes network namespaces and mounts: run as root" >&2; exit 1; fi
}

# One command at a time for one checkout. Long-lived processes close the descriptor.
lock() {
  mkdir -p "$state" "$here_state"
  exec 9>"$state/lock"
  flock -n 9 || echo "waiting for another command of this checkout to end"
  flock -w 600 9 || { echo "another command holds $state/lock" >&2; exit 1; }
  echo "$checkout" >"$state/checkout"
  echo "${instance:-}" >"$state/instance"
}

# From the build of an image until it is loaded: the archives are shared, and another checkout's images have the same
# names.
images_take() { mkdir -p "$images"; exec 7>"$images/.turn"; flock 7; }
images_leave() { exec 7>&-; }

# Many watchers of files: three kubelets and every pod count against one user's limit.
machine_limits() {
  local name least
  while read -r name least; do
    if (($(sysctl -n "$name") < least)); then
      sysctl -q -w "$name=$least"
      echo "raised $name to $least"
    fi
  done <<<"fs.inotify.max_user_instances 1024
fs.inotify.max_user_watches 524288"
}

# Clusters of checkouts that are no longer there: nobody else can end them, and their disks are large.
abandoned_remove() {
  local folder
  for folder in "$cache"/clusters/*/; do
    [[ -s $folder/checkout && ! -e $(<"$folder/checkout") ]] || continue
    echo "removing the cluster of $(<"$folder/checkout"), which is gone"
    CLUSTER_ID=$(basename "$folder") "$here/cluster.sh" forget
  done
}

all_stop() {
  local node
  for node in "${nodes[@]}"; do node_stop "$node"; done
  stop_recorded outside
}

network_up() {
  if network_whole; then network_routes; return; fi
  echo "building the network anew"
  all_stop
  network_remove
  network_create
  cp /proc/sys/kernel/random/boot_id "$state/network"
}

# $1 node: runs, has its images and its credentials.
node_up() {
  node_start "$1"
  node_load_images "$1" cluster
}

workers_up() {
  local node jobs=()
  for node in "${workers[@]}"; do
    node_credentials "$node"
    (set -e; node_up "$node") &
    jobs+=($!)
  done
  for node in "${jobs[@]}"; do wait "$node"; done
}

hub_up() {
  node_start "$hub"
  control_plane_configure
  node_credentials "$hub"
  node_load_images "$hub" cluster
  machine_credentials
  api_ready
  rights_apply
}

# Waits until every node's enforcer has read the policies and put them in force. It says of each round how long its rules
# took, and the last rule of its chains comes with the first one.
policies_in_force() {
  local node log
  for node in "${nodes[@]}"; do
    log=$(disk_of "$node")/log/kube-router.log
    for _ in $(seq 600); do
      if grep -qs 'Restoring .* iptables rules took' "$log" &&
        [[ $(enter "$node" iptables -S KUBE-ROUTER-FORWARD 2>/dev/null) == *"ACCEPT traffic that comply"* ]]; then
        continue 2
      fi
      sleep 0.1
    done
    echo "kube-router on $node puts no policies in force: see $log; a node that was started before kube-router needs make dev-down and make dev" >&2
    return 1
  done
}

# BAILIWICK_BUILT says that whoever started this has looked whether packages, commands and programs must be made, and that
# one look is enough. Images are looked at each time: other checkouts share their archives, and a look reads no archive.
is_built() { [[ -n ${BAILIWICK_BUILT:-} ]]; }

install_packages() { is_built || "$here/packages.sh"; }
build_commands() { is_built || "$here/binaries.sh"; }
build_operator() {
  if is_built && [[ $OPERATOR_PROFILE == debug ]]; then return; fi
  cd "$checkout"
  # All programs: a choice of packages would be a choice of their dependencies' features, each built anew.
  cargo build --quiet --locked --workspace --bins
  if [[ $OPERATOR_PROFILE == release ]]; then cargo build --quiet --locked --release --workspace --bins; fi
}
build_images() { "$here/images.sh"; }
build_cluster_images() {
  "$here/images.sh" pause etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy coredns \
    local-path-provisioner probe
  packet_filter_install
}

load_images() {
  local node jobs=()
  for node in "${nodes[@]}"; do
    (set -e; node_load_images "$node" platform) &
    jobs+=($!)
  done
  for node in "${jobs[@]}"; do wait "$node"; done
}

up() {
  require_root
  lock
  step "preflight" preflight
  step "Debian packages" install_packages
  step "commands" build_commands
  images_take
  step "images of the cluster" build_cluster_images
  step "limits of the machine" machine_limits
  step "abandoned clusters" abandoned_remove
  step "network" network_up
  step "outside" outside_start
  step "no way beyond" network_closed
  step "control plane ($hub)" hub_up
  step "nodes (${workers[*]})" workers_up
  images_leave
  step "network policies" policies_in_force
  step "nodes ready" nodes_ready
  step "add-ons" addons_apply
  echo "cluster $cluster_id is up: export KUBECONFIG=$kubeconfig"
}

load() {
  export OPERATOR_PROFILE=${OPERATOR_PROFILE:-debug}
  case $OPERATOR_PROFILE in
    debug | release) ;;
    *) echo "OPERATOR_PROFILE is '$OPERATOR_PROFILE': use debug or release" >&2; return 1 ;;
  esac
  require_root
  lock
  step "operator" build_operator
  images_take
  step "images" build_images
  step "images on the nodes" load_images
  images_leave
}

down() {
  local node
  require_root
  lock
  for node in "${workers[@]}" "$hub"; do step "end $node" node_stop "$node"; done
  step "end outside" stop_recorded outside
  step "remove the network" network_remove
}

# Ends and removes a cluster of which nothing but its folder in the cache is left.
forget() {
  require_root
  all_stop
  network_remove
  rm -rf "$state"
}

erase() {
  down
  step "erase the disks" rm -rf "$state" "$kubeconfig" "$audit" "$here_state"/{audit.log,outside.jsonl,operator-image}
}

status() {
  local name pid
  for name in "${nodes[@]}" outside; do
    pid=$(recorded_pid "$name")
    printf '  %-8s %s\n' "$name" "$([[ -n $pid ]] && echo "running, pid $pid" || echo "not running")"
  done
  if [[ -s $kubeconfig ]] && kube get --raw /readyz >/dev/null 2>&1; then
    kube get nodes -L topology.kubernetes.io/region
  else
    echo "  the API server does not answer: make dev"
  fi
}

show_logs() {
  local node=${1:-$hub}
  tail -n 60 -F "$(disk_of "$node")"/log/*.log "$logs"/*.log
}

case ${1:-} in
  preflight) preflight ;;
  up) up ;;
  load) load ;;
  down) down ;;
  reset) erase; up ;;
  erase) erase ;;
  forget) forget ;;
  status) status ;;
  logs) shift; show_logs "$@" ;;
  enter) shift; enter "$@" ;;
  # The one that is loaded here; the archive may be another checkout's by now.
  image-id) cut -d' ' -f2 "$(disk_of "${workers[0]}")/loaded/$2" ;;
  *) sed -n '4,8s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
