#!/usr/bin/env bash
# The first process of a node: own mounts over the machine's file system, then containerd, the kubelet
# and kube-router, each started again when it ends. Runs in the node's network, pid, mount and
# host name namespaces; when it ends, the kernel ends everything in the node.
#   in:  NODE, ADDRESS, SERVICES (range), LABELS, DISK (the node's folder on the real disk), BIN (commands), AUDIT (hub only)
#   out: logs in $DISK/log
set -euo pipefail

hostname "$NODE"
mount --make-rprivate /
# shellcheck disable=SC2153 # DISK comes from the environment
# Open before something is mounted over them.
exec {disk}<"$DISK" {bin}<"$BIN"
if [[ -n $AUDIT ]]; then exec {audit}<"$AUDIT"; fi

mount -t tmpfs -o mode=0755 node /run
mkdir -p /run/node /run/bin /run/lock /run/overlay /run/netns
mount -c --bind "/proc/self/fd/$disk" /run/node
mount -c --bind "/proc/self/fd/$bin" /run/bin
if [[ -n $AUDIT ]]; then mkdir -p /run/audit; mount -c --bind "/proc/self/fd/$audit" /run/audit; fi

# Devices of its own: whatever a privileged pod does to them, the machine keeps its own.
own_devices() {
  local device name numbers
  mkdir /run/dev
  mount -t tmpfs -o mode=0755,nosuid dev /run/dev
  for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 kmsg:1:11 tty:5:0; do
    IFS=: read -r name numbers <<<"$device"
    mknod -m 0666 "/run/dev/$name" c "${numbers%:*}" "${numbers#*:}"
  done
  chmod 0600 /run/dev/kmsg
  ln -s /proc/self/fd /run/dev/fd
  ln -s fd/0 /run/dev/stdin
  ln -s fd/1 /run/dev/stdout
  ln -s fd/2 /run/dev/stderr
  ln -s pts/ptmx /run/dev/ptmx
  mkdir /run/dev/pts /run/dev/shm
  mount -t devpts -o newinstance,mode=0620,ptmxmode=0666 devpts /run/dev/pts
  mount -t tmpfs -o mode=1777,nosuid,nodev shm /run/dev/shm
  mount --move /run/dev /dev
}

# $1 a folder of the machine: what the node writes there stays in memory, the machine sees nothing of it.
cover() {
  local name=${1//\//-}
  mkdir -p "/run/overlay/$name/upper" "/run/overlay/$name/work"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=/run/overlay/$name/upper,workdir=/run/overlay/$name/work" "$1"
}
# $1 the folder on the node's disk, $2 where it is seen.
place() {
  mkdir -p "/run/node/$1" "$2"
  mount --bind "/run/node/$1" "$2"
}

own_devices
cover /etc
# Some objects name the folder of kernel modules, and a runtime makes what it does not find.
if [[ ! -d /lib/modules ]]; then cover "$(realpath /lib)"; mkdir -p /lib/modules; fi
mount -t tmpfs -o mode=0755 node /var/lib
mount -t tmpfs -o mode=0755 node /var/log
place kubernetes /etc/kubernetes
place containerd /var/lib/containerd
place kubelet /var/lib/kubelet
place etcd /var/lib/etcd
place volumes /var/lib/bailiwick/volumes
place pods /var/log/pods
place log /run/log
if [[ -n $AUDIT ]]; then mkdir -p /var/log/kubernetes; mount --bind /run/audit /var/log/kubernetes; fi
chmod 0700 /run/node/etcd
# Mounts of pods must reach containers that ask for it; they stay within the node all the same.
mount --make-rshared /

mkdir -p /etc/cni/net.d /opt/cni
cp /run/node/config/pods.conflist /etc/cni/net.d/
cp /run/node/config/resolv.conf /run/resolv.conf
rm -f /etc/resolv.conf
cp /run/resolv.conf /etc/resolv.conf
printf '127.0.0.1 localhost\n%s %s\n' "$ADDRESS" "$NODE" >/etc/hosts

export PATH=/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
exec {disk}<&- {bin}<&-
if [[ -n $AUDIT ]]; then exec {audit}<&-; fi
unset SSH_AUTH_SOCK XDG_RUNTIME_DIR

# $1 name, then the command: one log a boot, and the pid for whoever replaces the command.
supervise() {
  local name=$1
  shift
  : >"/run/log/$name.log"
  while true; do
    "$@" >>"/run/log/$name.log" 2>&1 &
    echo $! >"/run/$name.pid"
    wait $! || true
    echo "node: $name ended, starting again" >>"/run/log/$name.log"
    sleep 1
  done
}

kubelet_when_ready() {
  until [[ -S /run/containerd/containerd.sock && -e /run/node/config/kubelet-may-start ]]; do sleep 0.1; done
  exec kubelet --config=/run/node/config/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \
    --hostname-override="$NODE" --node-ip="$ADDRESS" --node-labels="$LABELS" --root-dir=/var/lib/kubelet
}

policies_when_ready() {
  local kubeconfig=/etc/kubernetes/kube-router.conf
  # It ends when it does not find its node, and pauses for long when it has no rights yet.
  until kubectl --kubeconfig "$kubeconfig" get --raw "/api/v1/nodes/$NODE" >/dev/null 2>&1; do sleep 1; done
  exec kube-router --run-firewall=true --run-router=false --run-service-proxy=false --kubeconfig="$kubeconfig" \
    --hostname-override="$NODE" --service-cluster-ip-range="$SERVICES" --health-port=0 --metrics-port=0 -v=1
}

supervise containerd containerd --config /run/node/config/containerd.toml &
supervise kubelet kubelet_when_ready &
supervise kube-router policies_when_ready &
# The first process also reaps orphans, which bash does while it waits.
while true; do wait -n || sleep 1; done
