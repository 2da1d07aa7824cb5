#!/usr/bin/env bash
# A stand-in for python:3.11-slim-bookworm where no registry can be reached: Debian 12's own packages.
# tests/deploy/base_image.sh TAG; needs mmdebstrap, buildah and the superuser.
#   BUILDAH  with its options, e.g. "buildah --root /scratch/containers"
set -euo pipefail
tag=$1
read -ra buildah <<< "${BUILDAH:-buildah}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv bookworm "$work/base.tar"
container=$("${buildah[@]}" from scratch)
"${buildah[@]}" add --quiet "$container" "$work/base.tar" / > /dev/null
"${buildah[@]}" commit --quiet --rm "$container" "$tag" > /dev/null
