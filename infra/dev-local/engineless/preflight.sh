# shellcheck shell=bash
# Looks for what would fail later and less clearly. Sourced.
#   in:  the machine, $cache; out: one line a problem on standard error, each with what to do about it

readonly memory_needed_mb=3000 disk_needed_mb=8000

preflight() {
  local problems=() tool value
  [[ $(uname -s) == Linux ]] || problems+=("this is not Linux: use k3d with a Docker engine (DEV_CLUSTER=k3d make dev)")
  for tool in apt-get dpkg-query; do
    command -v "$tool" >/dev/null || problems+=("$tool is missing: the engine-less cluster installs Debian packages; elsewhere use DEV_CLUSTER=k3d make dev")
  done
  command -v go >/dev/null || problems+=("go is missing: install the Go toolchain that modules/*/go.mod name")
  command -v cargo >/dev/null || problems+=("cargo is missing: install rustup; rust-toolchain.toml chooses the version")
  grep -qw overlay /proc/filesystems || problems+=("the kernel has no overlay file system: modprobe overlay")
  unshare --mount --net --pid --fork true 2>/dev/null || problems+=("namespaces cannot be made: a container needs --privileged")
  value=$(awk '$1 == "MemAvailable:" {print int($2 / 1024)}' /proc/meminfo)
  # A cluster that runs already has its memory.
  [[ -n $(recorded_pid "$hub") ]] || ((value >= memory_needed_mb)) ||
    problems+=("$value MB of memory are available, $memory_needed_mb are needed: end something")
  mkdir -p "$cache"
  value=$(df --output=avail -m "$cache" | tail -1)
  ((value >= disk_needed_mb)) || problems+=("$value MB are free in $cache, $disk_needed_mb are needed: free some, or set BAILIWICK_CACHE")
  if ((${#problems[@]})); then
    printf 'preflight: %s\n' "${problems[@]}" >&2
    return 1
  fi
}
