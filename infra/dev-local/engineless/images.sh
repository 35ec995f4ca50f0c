#!/usr/bin/env bash
# Builds the container images of the engine-less cluster, without a container engine.
#   in:  commands in $BAILIWICK_CACHE/bin (binaries.sh), platform/images/<name>/, the programs that cargo built, Debian's packages
#   out: $BAILIWICK_CACHE/images/<name>-<hash of its inputs>.tar (docker-archive), <name>.tar as a link to the one asked for
#        last, and images/index.tsv: ref, tar file, image id
# usage: images.sh [--fresh] [NAME...]     all of them without a NAME; --fresh takes Debian's newest packages again
#        OPERATOR_PROFILE=release or debug (that one by default) chooses which of cargo's programs go into the images
#        images.sh --list                  name, reference and what it is made of, for other builders
# An image is built once for each state of its inputs, so two checkouts that differ do not overwrite each other's; the three
# used last are kept of each. Whoever imports a tar holds images/.lock shared meanwhile.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
cache=${BAILIWICK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bailiwick}
bin=$cache/bin
images=$cache/images
store=$cache/buildah
export BUILDAH_ISOLATION=chroot

readonly kubernetes=v1.36.3 debian=trixie profile=${OPERATOR_PROFILE:-debug}
postgres=$(cat "$root/platform/images/postgres/VERSION")
fence=$(cat "$root/platform/images/fence/VERSION")
readonly postgres fence
# name, reference, what it is made of:
#   command <name>         FROM scratch with that one command of binaries.sh
#   folder <dir> [file]    platform/images/<dir>/Containerfile, with the file added to its context
#   proxy                  kube-proxy beside the packet filter's tools
readonly table="
pause                    bailiwick.dev/kubernetes/pause:3.10                             folder pause pause
kube-apiserver           bailiwick.dev/kubernetes/kube-apiserver:$kubernetes             command kube-apiserver
kube-controller-manager  bailiwick.dev/kubernetes/kube-controller-manager:$kubernetes    command kube-controller-manager
kube-scheduler           bailiwick.dev/kubernetes/kube-scheduler:$kubernetes             command kube-scheduler
kube-proxy               bailiwick.dev/kubernetes/kube-proxy:$kubernetes                 proxy
etcd                     bailiwick.dev/kubernetes/etcd:3.6.16-0                          command etcd
coredns                  bailiwick.dev/kubernetes/coredns:v1.12.4                        command coredns
local-path-provisioner   bailiwick.dev/local-path-provisioner:v0.0.30                    command local-path-provisioner
minio                    bailiwick.dev/minio:2026-02-12                                  folder minio minio
probe                    bailiwick.dev/probe:0.1.0                                       folder probe
postgres                 bailiwick.dev/postgres:$postgres                                  folder postgres
operator                 bailiwick.dev/operator:0.1.0                                    folder operator bailiwick-operator
fence                    bailiwick.dev/fence:$fence                                       folder fence bailiwick-fence
"

say() { printf 'images: %s\n' "$*"; }
b() { buildah --storage-driver vfs --root "$store/root" --runroot "$store/run" "$@"; }
hash_of() { sha256sum | cut -c1-16; }

# --- inputs -----------------------------------------------------------------------------------------------------

# $1 a file's name in a context; prints its path, or tells how to get it.
input_path() {
  local path
  case $1 in
    pause) path=$store/pause ;;
    bailiwick-*) path=${CARGO_TARGET_DIR:-$root/target}/$profile/$1 ;;
    *) path=$bin/$1 ;;
  esac
  if [[ ! -x $path ]]; then
    case $1 in
      bailiwick-*) echo "the program $1 is not built: $path is missing; run make images" >&2 ;;
      *) echo "the command $1 is not built: run infra/dev-local/engineless/binaries.sh" >&2 ;;
    esac
    return 1
  fi
  echo "$path"
}

compile_pause() {
  mkdir -p "$store"
  gcc -static -Os -Wall -Wextra -Werror -o "$store/pause.part" "$root/platform/images/pause/pause.c"
  strip "$store/pause.part"
  mv "$store/pause.part" "$store/pause"
}

# The root file system that all Debian images start from. Documentation is left out, licences are kept.
make_base() {
  mmdebstrap --quiet --variant=minbase --include=ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
    "$debian" "$1"
}
base_inputs() { { declare -f make_base; echo "$debian"; } | hash_of; }

# $1 a file's name in a context; prints what tells its contents apart. Where a command of the cache is kept already tells
# what it was built from (binaries.sh), and reading all of them takes longer than all else here.
identity() {
  local path
  path=$(readlink -f "$(input_path "$1")")
  case $path in
    "$(readlink -f "$bin")"/*) basename "${path%/*}" ;;
    *) sha256sum <"$path" ;;
  esac
}

# $1 kind, then its arguments; prints the hash of everything that goes into the image.
inputs() {
  local kind=$1
  shift
  {
    declare -f "build_$kind"
    echo "$kind $*"
    case $kind in
      command) identity "$1" ;;
      proxy)
        base_id
        identity kube-proxy ;;
      folder)
        (cd "$root/platform/images/$1" && find . -type f ! -path './examples/*' ! -name '*.md' ! -name test.sh -print0 | sort -z | xargs -0 sha256sum)
        if [[ $1 != pause ]]; then
          base_id
          if [[ -n ${2:-} ]]; then identity "$2"; fi
        fi ;;
    esac
  } | hash_of
}

# --- builds -----------------------------------------------------------------------------------------------------

# The base's identity: its own hash, so that --fresh reaches every image on top of it.
base_id() { cut -f3 "$images/debian.made"; }

ensure_base() {
  local start=$SECONDS want container
  want=$(base_inputs)
  if [[ -n $fresh ]] || ! is_made debian "bailiwick.dev/debian:$debian" "$want"; then
    rm -f "$store/base.tar"
    make_base "$store/base.tar"
    container=$(b from scratch)
    b add -q "$container" "$store/base.tar" / >/dev/null
    b config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd /bin/sh "$container"
    finish debian "bailiwick.dev/debian:$debian" "$want" "$container"
    rm -f "$store/base.tar"
    choose debian "$want"
    say "debian built in $((SECONDS - start)) s, $(size_of debian)"
  else
    choose debian "$want"
  fi
}

# Loads the base into the working store, once a run.
base_image() {
  b inspect --type image "bailiwick.dev/debian:$debian" >/dev/null 2>&1 ||
    b pull -q "docker-archive:$images/debian.tar" >/dev/null
  echo "bailiwick.dev/debian:$debian"
}

size_of() { echo "$(($(stat -L -c %s "$images/$1.tar") / 1000000)) MB"; }

# $1 name, $2 reference, $3 hash of the inputs, $4 container: writes the tar, then the line that says it is whole.
finish() {
  local id made=$images/$1-$3
  rm -f "$made.made" "$store/$1.tar"
  b commit -q --rm --format docker --timestamp 0 "$4" "docker-archive:$store/$1.tar:$2" >/dev/null
  id=$(tar -xOf "$store/$1.tar" manifest.json | sed 's/.*"Config":"\([0-9a-f]*\)\.json".*/\1/')
  [[ ${#id} == 64 ]] || { echo "images: $1: no image id in its archive" >&2; return 1; }
  mv "$store/$1.tar" "$made.tar"
  printf '%s\t%s\t%s\n' "$3" "$2" "$id" >"$made.part"
  mv "$made.part" "$made.made"
}

# $1 name, $2 reference, $3 hash of the inputs: whether that image is whole.
is_made() { [[ -s $images/$1-$3.tar && $(cut -f1,2 "$images/$1-$3.made" 2>/dev/null) == "$3"$'\t'"$2" ]]; }

# $1 name, $2 hash of the inputs: makes that image the current one, and leaves the three used last.
choose() {
  local suffix old
  touch "$images/$1-$2".{made,tar}
  for suffix in tar made; do
    ln -sfn "$1-$2.$suffix" "$images/$1.next"
    mv -T "$images/$1.next" "$images/$1.$suffix"
  done
  while read -r old; do
    rm -f "${old%.made}".{made,tar}
  done < <(find "$images" -maxdepth 1 -type f -name "$1-*.made" -printf '%T@ %p\n' | grep -E "/$1-[0-9a-f]{16}\.made$" | sort -rn | cut -d' ' -f2- | tail -n +4)
}

# Each prints the container to commit. $1 and on: the arguments of the table.
build_command() {
  local container
  container=$(b from scratch)
  b copy -q --chmod 0755 "$container" "$(readlink -f "$(input_path "$1")")" "/usr/local/bin/$1" >/dev/null
  b config --env PATH=/usr/local/bin --entrypoint "[\"/usr/local/bin/$1\"]" "$container"
  echo "$container"
}

build_proxy() {
  local container
  container=$(b from "$(base_image)")
  b run "$container" -- sh -ec '
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends conntrack iptables nftables
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log' >"$store/log" 2>&1
  b copy -q --chmod 0755 "$container" "$(readlink -f "$(input_path kube-proxy)")" /usr/local/bin/kube-proxy >/dev/null
  b config --cmd '' --entrypoint '["/usr/local/bin/kube-proxy"]' "$container" 2>>"$store/log"
  echo "$container"
}

build_folder() {
  local context=$store/context base=scratch
  rm -rf "$context"
  cp -r "$root/platform/images/$1" "$context"
  if [[ -n ${2:-} ]]; then cp -L "$(input_path "$2")" "$context/$2"; fi
  [[ $1 == pause ]] || base=$(base_image)
  b build -q --format docker --timestamp 0 --layers=false --pull-never --build-arg "BASE=$base" \
    -t "localhost/$1" "$context" >"$store/log" 2>&1
  rm -rf "$context"
  b from "localhost/$1"
}

# $1 name, $2 reference, $3 kind, then its arguments.
ensure() {
  local name=$1 ref=$2 kind=$3 start=$SECONDS want container
  shift 3
  : >"$store/log"
  want=$(inputs "$kind" "$@")
  if is_made "$name" "$ref" "$want"; then
    choose "$name" "$want"
    say "$name is current"
    return
  fi
  container=$("build_$kind" "$@")
  finish "$name" "$ref" "$want" "$container"
  choose "$name" "$want"
  say "$name built in $((SECONDS - start)) s, $(size_of "$name")"
  sed -n "s/^warning: /images: $name: warning: /p" "$store/log" >&2
}

write_index() {
  local name ref id _
  while read -r name ref _; do
    [[ -n $name && -s $images/$name.tar && -s $images/$name.made ]] || continue
    IFS=$'\t' read -r _ ref id <"$images/$name.made"
    printf '%s\t%s\t%s\n' "$ref" "$images/$name.tar" "$id"
  done <<<"$table" >"$images/index.tsv.part"
  mv "$images/index.tsv.part" "$images/index.tsv"
}

sweep() { rm -rf "$store"; }

# --- main -------------------------------------------------------------------------------------------------------

if [[ ${1:-} == --list ]]; then
  grep . <<<"$table"
  exit
fi
for tool in buildah mmdebstrap gcc flock; do
  command -v "$tool" >/dev/null || { echo "images: $tool is missing: apt-get install buildah mmdebstrap gcc util-linux" >&2; exit 1; }
done
[[ $EUID == 0 ]] || { echo "images: root is needed to make root file systems" >&2; exit 1; }

mkdir -p "$images"
exec 9>"$images/.lock"
# Two checkouts share the cache. What a killed run still has running holds the lock too, until it ends.
flock -n 9 || { say "waiting for another run"; flock 9; }
sweep   # what a killed run left behind
trap sweep EXIT
mkdir -p "$store"

fresh=
if [[ ${1:-} == --fresh ]]; then
  fresh=1
  shift
fi
for name in "$@"; do
  grep -q "^$name " <<<"$table" || { echo "images: there is no image called $name" >&2; exit 2; }
done

ensure_base
failed=0
while read -r name ref kind arguments; do
  [[ -n $name ]] || continue
  if [[ $# -gt 0 && " $* " != *" $name "* ]]; then continue; fi
  if [[ $name == pause ]]; then compile_pause; fi
  # A job of its own, because errexit is off wherever a status is asked for.
  # shellcheck disable=SC2086 # the arguments are words
  ensure "$name" "$ref" "$kind" $arguments </dev/null &
  if wait $!; then
    write_index
  else
    tail -n 30 "$store/log" >&2
    echo "images: $name was not built" >&2
    failed=$((failed + 1))
  fi
done <<<"$table"
if ((failed)); then
  echo "images: $failed not built" >&2
  exit 1
fi
