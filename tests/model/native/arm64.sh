#!/bin/bash
# Runs the native operators of an aarch64 wheel on an emulated CPU, against float64: `make arm64`.
# Debian 12, as root; what it needs is fetched into a folder of its own, which is removed at the end.
#
#     arm64.sh PYTHON      PYTHON: of the environment that builds the wheel
set -euo pipefail
python="$(realpath -s "$1")"
cd "$(dirname "$0")/../../.."
root="$(mktemp -d)"
trap 'rm -rf "$root"' EXIT
# The cross compiler's libraries are the emulated machine's too; its Python is Debian's own.
dpkg --add-architecture arm64
apt-get update -qq
apt-get install -y -qq --no-install-recommends qemu-user g++-aarch64-linux-gnu >/dev/null
chmod 755 "$root"
mkdir "$root/debs" "$root/system" "$root/site" "$root/source"
chmod 777 "$root/debs" # apt fetches as another user.
(cd "$root/debs" && apt-get download -qq \
  {libc6,libgomp1,libstdc++6,libgcc-s1,zlib1g,libexpat1,libssl3,libffi8,libbz2-1.0,liblzma5,libuuid1}:arm64 \
  {python3.11-minimal,libpython3.11-minimal,libpython3.11-stdlib}:arm64)
for package in "$root"/debs/*.deb; do dpkg -x "$package" "$root/system"; done
"$python" -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux2014_aarch64 \
  --python-version 3.11 --dest "$root" numpy==1.26.4
cp -r LICENSE README.md pyproject.toml setup.py mixnet_core flows "$root/source"
MIXNET_WHEEL_MACHINE=aarch64 CXX=aarch64-linux-gnu-g++ "$python" -m pip wheel --quiet --no-deps \
  --no-index --no-build-isolation --wheel-dir "$root" "$root/source"
for wheel in "$root"/*.whl; do "$python" -m zipfile -e "$wheel" "$root/site"; done
for threads in 1 3; do
  OMP_NUM_THREADS=$threads PYTHONPATH="$root/site:$PWD" qemu-aarch64 -L "$root/system" \
    "$root/system/usr/bin/python3.11" -m tests.model.native.cases \
    "$root/site/mixnet_core/model/native/prebuilt/armv8-a.so" --exact
done
