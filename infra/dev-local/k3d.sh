#!/usr/bin/env bash
# The development cluster in a Docker engine: k3d with one agent a location.
#   in:  docker, k3d, kubectl, k3d.yaml, platform/images; out: cluster k3d-bailiwick, .state/kubeconfig
# usage: k3d.sh preflight | up | load | down | erase | status | logs NODE | image-id NAME
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/engineless/settings.sh"
source "$here/engineless/progress.sh"
readonly name=bailiwick context=k3d-bailiwick k3d_version=v5.9.0
readonly toolchain=docker.io/library/rust:1.95-trixie go_toolchain=docker.io/library/golang:1.26-trixie
export KUBECONFIG=$kubeconfig

# Everything that would fail later and less clearly, each with what to do about it.
preflight() {
  local problems=() value tool
  for tool in docker k3d kubectl; do
    command -v "$tool" >/dev/null || problems+=("$tool is missing: $(hint "$tool")")
  done
  if command -v docker >/dev/null && ! timeout 20 docker info >/dev/null 2>&1; then
    problems+=("the Docker engine does not answer: start it, or use DEV_CLUSTER=engineless make dev (Linux, root)")
  elif command -v docker >/dev/null; then
    value=$(docker info --format '{{.MemTotal}}')
    ((value >= 4000000000)) || problems+=("the Docker engine has $((value / 1000000)) MB of memory, 4000 are needed: raise it in the engine's settings")
  fi
  for value in max_user_instances:512 max_user_watches:262144; do
    if [[ -r /proc/sys/fs/inotify/${value%:*} ]] && (($(<"/proc/sys/fs/inotify/${value%:*}") < ${value#*:})); then
      problems+=("fs.inotify.${value%:*} is too low: sudo sysctl -w fs.inotify.${value%:*}=${value#*:}")
    fi
  done
  if ((${#problems[@]})); then
    printf 'preflight: %s\n' "${problems[@]}" >&2
    return 1
  fi
  not_another_checkouts
}

hint() {
  case $1 in
    docker) echo "install Docker Engine, or use DEV_CLUSTER=engineless make dev (Linux, root)" ;;
    k3d) echo "go install github.com/k3d-io/k3d/v5@$k3d_version" ;;
    kubectl) echo "install kubectl 1.36, or run make binaries and add $bin to PATH" ;;
  esac
}

exists() { k3d cluster list "$name" >/dev/null 2>&1; }

# The cluster's name is fixed, so a second checkout must not take it over.
not_another_checkouts() {
  local owner
  exists || return 0
  owner=$(docker inspect --format '{{index .Config.Labels "bailiwick.dev/checkout"}}' "k3d-$name-server-0")
  if [[ $owner != "$checkout" ]]; then
    echo "preflight: the cluster $context belongs to $owner: run make dev-down there" >&2
    return 1
  fi
}

# Nothing is ever sent to a cluster of another name.
right_context() {
  local current
  current=$(kubectl config current-context 2>/dev/null || true)
  if [[ $current != "$context" ]]; then
    echo "the context of $kubeconfig is '$current', not $context: remove the file and run make dev" >&2
    return 1
  fi
}

create() {
  if exists; then
    k3d cluster start "$name" --wait --timeout 180s
  else
    k3d cluster create --config "$here/k3d.yaml" --runtime-label "bailiwick.dev/checkout=$checkout@server:0"
  fi
  mkdir -p "$(dirname "$kubeconfig")"
  (umask 077 && k3d kubeconfig get "$name" >"$kubeconfig.part")
  mv "$kubeconfig.part" "$kubeconfig"
  right_context
}

ready() { kubectl wait --for=condition=Ready node --all --timeout=120s; }

# name, reference and build context of every image of the platform; one table for both kinds of cluster.
platform_images() {
  "$here/engineless/images.sh" --list | awk '$3 == "folder" && $1 != "pause" {print $1, $2, $4, $5}'
}

# The programs that images carry, built for the engine's Linux whatever the machine is.
programs() {
  local out=$checkout/target/k3d
  mkdir -p "$out"
  docker run --rm -v "$checkout:/src" -v bailiwick-cargo:/usr/local/cargo/registry -w /src -e CARGO_TARGET_DIR=/src/target/k3d/cargo \
    "$toolchain" cargo build --release --locked --workspace --bins
  cp "$out"/cargo/release/bailiwick-{operator,fence} "$out/"
  docker run --rm -v "$checkout:/src:ro" -v bailiwick-go:/go -v bailiwick-build:/cache -e BAILIWICK_CACHE=/cache -e GOCACHE=/cache/go \
    "$go_toolchain" bash /src/infra/dev-local/engineless/binaries.sh minio
  docker run --rm -v bailiwick-build:/cache:ro -v "$out:/out" "$go_toolchain" cp -L /cache/bin/minio /out/minio
}

build() {
  local image ref folder file context
  context=$checkout/target/k3d/context
  while read -r image ref folder file; do
    rm -rf "$context"
    cp -r "$checkout/platform/images/$folder" "$context"
    if [[ -n $file ]]; then cp "$checkout/target/k3d/$file" "$context/$file"; fi
    docker build -q -f "$context/Containerfile" -t "$ref" "$context"
    echo "$image is $ref"
  done < <(platform_images)
  rm -rf "$context"
}

import() {
  local refs
  mapfile -t refs < <(platform_images | awk '{print $2}')
  k3d image import --cluster "$name" "${refs[@]}"
}

up() {
  step "preflight" preflight
  step "cluster $context" create
  step "nodes ready" ready
}

load() {
  right_context
  step "programs" programs
  step "images" build
  step "import of images" import
}

erase() {
  not_another_checkouts
  if exists; then step "delete $context" k3d cluster delete "$name"; fi
  rm -f "$kubeconfig" "$here_state/operator-image"
}

case ${1:-} in
  preflight) preflight ;;
  up) up ;;
  load) load ;;
  # Containers and their volumes are one thing here.
  down) not_another_checkouts; if exists; then step "stop $context" k3d cluster stop "$name"; fi ;;
  erase) erase ;;
  status) if exists; then right_context; kubectl get nodes -L topology.kubernetes.io/region; else echo "  no cluster: make dev"; fi ;;
  logs) docker logs --tail 60 --follow "k3d-$name-$2" ;;
  image-id) docker image inspect --format '{{.Id}}' "$(platform_images | awk -v image="$2" '$1 == image {print $2}')" ;;
  *) sed -n '4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
