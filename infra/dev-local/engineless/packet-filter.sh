# shellcheck shell=bash
# Takes the packet filter's tool out of kube-proxy's image, for the other programs of a node. Sourced.
#   in:  images/index.tsv and the tar of kube-proxy; out: $bin/nft-<image>/, and $bin/nft as a link into it
# Both write rules into one kernel table set, and an older nft crashes on reading what a newer one wrote.

packet_filter_install() {
  local tar id folder layer loader
  IFS=$'\t' read -r _ tar id < <(awk -F'\t' '$2 ~ "/kube-proxy.tar$"' "$images/index.tsv")
  folder=$bin/nft-${id:0:16}
  if [[ ! -x $folder/nft ]]; then
    rm -rf "$folder.part"
    mkdir -p "$folder.part/lib"
    exec 8<"$images/.lock"
    flock -s 8 # no image is replaced while it is read
    # A layer holds some of the names, or none.
    for layer in $(tar -xOf "$tar" manifest.json | sed 's/.*"Layers":\[\([^]]*\)\].*/\1/; s/[",]/ /g'); do
      tar -xOf "$tar" "$layer" | tar -x -C "$folder.part" --wildcards 'usr/sbin/nft' 'usr/lib/*-linux-gnu/*.so*' 2>/dev/null || true
    done
    exec 8<&-
    mv "$folder.part"/usr/lib/*-linux-gnu/*.so* "$folder.part/lib/"
    mv "$folder.part/usr/sbin/nft" "$folder.part/lib/nft"
    rm -rf "$folder.part/usr"
    loader=$(basename "$(find "$folder.part/lib" -name 'ld-linux*.so.*' | head -1)")
    cat >"$folder.part/nft" <<WRAPPER
#!/bin/sh
lib=\$(dirname "\$(readlink -f "\$0")")/lib
exec "\$lib/$loader" --library-path "\$lib" "\$lib/nft" "\$@"
WRAPPER
    chmod +x "$folder.part/nft"
    "$folder.part/nft" --version
    rm -rf "$folder"
    mv "$folder.part" "$folder"
  fi
  ln -sfn "$(basename "$folder")/nft" "$bin/nft"
  find "$bin" -mindepth 1 -maxdepth 1 -type d -name 'nft-*' ! -path "$folder" -mmin +1440 -exec rm -rf {} +
}
