#!/usr/bin/env bash
# Installs the Debian packages that the engine-less cluster needs, those that are missing only.
#   in:  apt's sources; out: packages, one line when something was installed
set -euo pipefail

wanted=(
  runc containernetworking-plugins buildah skopeo mmdebstrap
  nftables iptables ipset conntrack iproute2 iputils-ping util-linux procps
  python3 curl ca-certificates gcc libc6-dev make jq openssl
)
missing=()
for package in "${wanted[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then exit 0; fi
if ((EUID != 0)); then
  echo "packages: missing ${missing[*]}: run as root, or apt-get install them" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "packages: installed ${missing[*]}"
