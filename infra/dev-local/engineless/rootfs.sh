#!/usr/bin/env bash
# Unpacks an image into a folder, for tests that run its programs without a container.
#   in:  $BAILIWICK_CACHE/images/<name>.tar (images.sh); out: $BAILIWICK_CACHE/rootfs/<name>, whose path is printed
# usage: rootfs.sh NAME
set -euo pipefail
shopt -s inherit_errexit
name=${1:?usage: rootfs.sh NAME}
cache=${BAILIWICK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bailiwick}
archive=$cache/images/$name.tar
folder=$cache/rootfs/$name

mkdir -p "$cache/rootfs"
exec 9>"$cache/rootfs/.lock"
flock 9 # two checkouts share the cache
manifest=$(tar -xOf "$archive" manifest.json)
version=$(jq -r '.[0].Config' <<<"$manifest")
if [[ $(cat "$folder.version" 2>/dev/null) != "$version" ]]; then
  rm -rf "$folder" "$folder.version"
  mkdir -p "$folder"
  while read -r layer; do
    # A file called .wh.NAME says that NAME of the layers below is gone (the OCI image specification's whiteouts).
    while read -r mark; do
      rm -rf "${folder:?}/${mark/.wh./}"
    done < <(tar -xOf "$archive" "$layer" | tar -t | grep -E '(^|/)\.wh\.[^/]+$' || true)
    tar -xOf "$archive" "$layer" | tar -x -C "$folder" --numeric-owner --exclude='.wh.*'
  done < <(jq -r '.[0].Layers[]' <<<"$manifest")
  echo "$version" >"$folder.version"
fi
echo "$folder"
