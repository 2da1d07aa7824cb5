#!/usr/bin/env bash
# Builds the image without a Docker engine: deploy/container/build.sh [TAG]
#
# The packages are gathered by this machine's pip, from whatever index, proxy or folder it is set to, and handed to
# the build, which then needs no network. Needs buildah, and Python of the version that the base has.
#   BASE     the base image, see Containerfile; its Python must be that of $PYTHON
#   EXTRAS   corpusdiff's extras to install
#   PYTHON   the Python whose pip gathers the packages (default python3)
#   BUILDAH  with its options, e.g. "buildah --root /scratch/containers"
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tag=${1:-localhost/corpusdiff:latest}
base=${BASE:-docker.io/library/python:3.11-slim-bookworm}
extras=${EXTRAS:-$(sed -n 's/^ARG EXTRAS=//p' "$here/Containerfile")}
python=${PYTHON:-python3}
read -ra buildah <<< "${BUILDAH:-buildah}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/context/dist" "$work/wheels"

echo "gathering packages"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/context/dist" "$root"
wheel=$(echo "$work"/context/dist/corpusdiff-*.whl)
"$python" -m pip wheel --quiet --wheel-dir "$work/wheels" -c "$root/requirements-lock.txt" "$wheel[$extras]"
cp "$root/requirements-lock.txt" "$work/context/"
printf '[global]\nno-index = true\nfind-links = /mnt\n' > "$work/pip.conf"

echo "building $tag from $base"
"${buildah[@]}" build --isolation chroot --file "$here/Containerfile" --tag "$tag" \
    --ignorefile "$here/.containerignore" \
    --build-arg BASE="$base" --build-arg EXTRAS="$extras" \
    --secret id=pip,src="$work/pip.conf" --volume "$work/wheels:/mnt:ro" \
    "$work/context"
