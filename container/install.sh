#!/bin/sh
# The steps that Dockerfile and Singularity.def share; run in the root of the repository, inside the container being built.
#
#   install.sh dependencies cpu|gpu   every library into a virtual environment, without what only building and testing need
#   install.sh package [ROOT]         bids_hypo itself into that environment, or below ROOT as a layer of its own
#   install.sh sbom [ROOT]            what the environment and the system hold, as a list in it, or below ROOT
set -eu

prefix=/opt/bids_hypo

environment() {
  [ -e "$1/bin/python" ] || python3 -m venv --without-pip "$1"
}

pip_in() {
  where=$1
  shift
  python3 -m pip --python "$where/bin/python" --no-input --quiet "$@"
}

# Only files whose hash the lock knows; what a file is built with comes from a lock too, never from the network.
install_locked() {
  environment "$1"
  pip_in "$1" install --no-cache-dir --no-compile --no-warn-script-location --no-deps --no-build-isolation \
    --require-hashes -r "container/locks/$2.txt"
}

# Headers (268 MB), the compiler's library (62 MB) and tests (150 MB) are never imported.
trim() {
  site=$("$prefix/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  rm -rf "$site/tensorflow/include" "$site/tensorflow/xla_aot_runtime_src" "$site/clang" "$site/plotly/labextension"
  find "$site" -type d -name tests -prune -exec rm -rf {} +  # not "test": parts of TensorFlow are called so
  find "$site" -type f \( -name '*.a' -o -name '*.pyx' -o -name '*.pxd' \) -delete
}

# Compiled now, because nothing can be written later. A library's templates need not compile, hence "|| true".
compile() {
  python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$1" >/dev/null || true
}

case "${1-} ${2-}" in
  "dependencies cpu" | "dependencies gpu")
    install_locked "$prefix" build
    install_locked "$prefix" "$2"
    trim
    compile "$prefix/lib"
    ;;
  "package "*)
    install_locked /tmp/build build
    pip_in /tmp/build wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels .
    environment "$prefix"
    pip_in "$prefix" install --no-compile --no-warn-script-location --no-deps --no-index --root "${2:-/}" /tmp/wheels/*.whl
    compile "${2-}$prefix/lib"
    ;;
  "sbom "*)
    install_locked /tmp/sbom sbom
    /tmp/sbom/bin/python container/sbom.py "$prefix/bin/python" "${2-}$prefix/share/bids_hypo.cdx.json"
    ;;
  *)
    sed -n '2,7p' "$0" >&2
    exit 2
    ;;
esac
