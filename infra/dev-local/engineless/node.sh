# shellcheck shell=bash
# One node of the cluster: a machine made of namespaces, with its own disk, containerd and kubelet. Sourced.
#   in:  settings.sh, processes.sh, network.sh, manifests/*.template, images/index.tsv
#   out: a folder a node in $state, a recorded process, cgroups

disk_of() { echo "$state/$1"; }

# $1 node, then a command that runs inside of it: its mounts, network, processes and name.
enter() {
  local node=$1 pid
  shift
  pid=$(recorded_pid "$node")
  [[ -n $pid ]] || { echo "node $node is not running" >&2; return 1; }
  nsenter --mount="/proc/$pid/ns/mnt" --uts="/proc/$pid/ns/uts" --net="/run/netns/$(namespace_of "$node")" \
    --pid="/proc/$pid/ns/pid_for_children" --wd=/ \
    env PATH=/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# $1 template, then name=value pairs; prints the template with every @name@ replaced.
render() {
  local text pair
  text=$(<"$engineless/manifests/$1")
  shift
  for pair in "$@"; do text=${text//@${pair%%=*}@/${pair#*=}}; done
  if grep -o '@[a-z_]*@' <<<"$text" >&2; then echo "$1: nothing given for the names above" >&2; return 1; fi
  printf '%s\n' "$text"
}

# $1 name of an image; prints its reference from the index of images.
image_ref() {
  awk -F'\t' -v tar="/$1.tar" 'substr($2, length($2) - length(tar) + 1) == tar {print $1; found = 1}
    END {exit !found}' "$images/index.tsv" || { echo "no image $1 in $images/index.tsv: run make images" >&2; return 1; }
}

# $1 node. Control groups of every mounted hierarchy; the kubelet expects its root to exist.
cgroups_create() {
  local name=$prefix-$1 controller
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    for controller in cpu cpuset io memory pids; do
      echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
    done
    mkdir -p "/sys/fs/cgroup/$name/host"
    return
  fi
  for controller in /sys/fs/cgroup/*/; do
    [[ -e $controller/cgroup.procs && ! -L ${controller%/} ]] || continue
    mkdir -p "$controller/$name"
    if [[ -e $controller/cpuset.cpus ]]; then
      cat "$controller/cpuset.cpus" >"$controller/$name/cpuset.cpus"
      cat "$controller/cpuset.mems" >"$controller/$name/cpuset.mems"
      echo 1 >"$controller/$name/cgroup.clone_children"
    fi
    mkdir -p "$controller/$name/host"
  done
}

# $1 node; prints the pids that are in its control groups.
cgroup_pids() {
  find /sys/fs/cgroup -path "*/$prefix-$1/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un
}

# $1 node. Waits until the kernel has ended the node's processes, then removes the groups.
cgroups_remove() {
  for _ in $(seq 300); do
    [[ -z $(cgroup_pids "$1") ]] && break
    sleep 0.1
  done
  find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "$prefix-$1" 2>/dev/null | while read -r group; do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [[ ! -d $group ]] || { echo "control group $group stays: it holds $(cgroup_pids "$1" | tr '\n' ' ')" >&2; return 1; }
  done
}

# $1 node: everything that its programs read at start.
node_configure() {
  local node=$1 config taints='[]'
  config=$(disk_of "$node")/config
  mkdir -p "$config"
  [[ $node != "$hub" ]] || taints='[{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]'
  render containerd.toml sandbox="$(image_ref pause)" >"$config/containerd.toml"
  render pods.conflist range="${node_pods[$node]}" >"$config/pods.conflist"
  render kubelet.yaml cgroup="/$prefix-$node" taints="$taints" dns="$cluster_dns" >"$config/kubelet.yaml"
  echo "nameserver $outside_address" >"$config/resolv.conf"
}

node_labels() {
  local location=${node_location[$1]:-}
  [[ -z $location ]] || echo "topology.kubernetes.io/region=$location,topology.kubernetes.io/zone=${location}a"
}

# $1 node. Starts its first process unless it runs; what an earlier one left is removed before.
node_start() {
  local node=$1 disk
  disk=$(disk_of "$node")
  if [[ -n $(recorded_pid "$node") ]]; then return; fi
  cgroups_remove "$node"
  cgroups_create "$node"
  node_configure "$node"
  touch "$disk/config/started"
  mkdir -p "$audit"
  ln -sfn audit/audit.log "$here_state/audit.log"
  # shellcheck disable=SC2016 # expanded by the inner shell
  start_recorded "$node" bash -c '
    for group in /sys/fs/cgroup/"$1"/host /sys/fs/cgroup/*/"$1"/host; do
      [[ ! -d $group ]] || echo $$ >"$group/cgroup.procs"
    done
    shift
    exec "$@"
  ' join "$prefix-$node" \
    nsenter --net="/run/netns/$(namespace_of "$node")" \
    unshare --mount --uts --ipc --pid --fork --kill-child --propagation private --mount-proc \
    env -i HOME=/root NODE="$node" ADDRESS="${node_address[$node]}" SERVICES="$service_range" LABELS="$(node_labels "$node")" DISK="$disk" BIN="$bin" \
    AUDIT="$([[ $node != "$hub" ]] || echo "$audit")" PATH="$PATH" bash "$engineless/node-init.sh"
  for _ in $(seq 300); do
    if enter "$node" ctr --connect-timeout 1s version >/dev/null 2>&1; then return; fi
    [[ -n $(recorded_pid "$node") ]] || break
    sleep 0.1
  done
  echo "containerd of $node does not answer: see $disk/log/containerd.log and $logs/$node.log" >&2
  return 1
}

# $1 node.
node_stop() {
  stop_recorded "$1"
  cgroups_remove "$1"
}

# $1 node, $2 cluster or platform; prints the names of the images that its pods may need, those that are built.
node_images() {
  local name
  while IFS=$'\t' read -r _ name _; do
    name=$(basename "$name" .tar)
    case $name in
      kube-apiserver | kube-controller-manager | kube-scheduler | etcd | local-path-provisioner) [[ $1 != "$hub" ]] || echo "$name" ;;
      pause | kube-proxy | coredns | probe) echo "$name" ;;
      # The platform's pods run on workers only.
      *) [[ $2 == cluster || $1 == "$hub" ]] || echo "$name" ;;
    esac
  done <"$images/index.tsv"
}

# $1 node, $2 cluster or platform. Loads the images that changed since they were last loaded there.
node_load_images() {
  local node=$1 name ref tar id marks
  marks=$(disk_of "$node")/loaded
  mkdir -p "$marks"
  exec 8<"$images/.lock"
  flock -s 8 # no image is replaced while it is read
  for name in $(node_images "$node" "$2"); do
    IFS=$'\t' read -r ref tar id < <(awk -F'\t' -v tar="/$name.tar" 'substr($2, length($2) - length(tar) + 1) == tar' "$images/index.tsv")
    [[ $(cat "$marks/$name" 2>/dev/null) != "$ref $id" ]] || continue
    enter "$node" ctr --namespace k8s.io images import --local --discard-unpacked-layers --snapshotter overlayfs - <"$tar"
    echo "$ref $id" >"$marks/$name"
    echo "$node: loaded $ref"
  done
  exec 8<&-
  touch "$(disk_of "$node")/config/kubelet-may-start"
}
