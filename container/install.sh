#!/bin/sh
# The steps that Dockerfile and Singularity.def share; run in the root of the repository, inside the container being built.
#
#   install.sh dependencies cpu|gpu   every library into a virtual environment, without what only building and testing need
#   install.sh package [ROOT]         bids_hypo itself into that environment, or below ROOT as a layer of its own
set -eu

prefix=/opt/bids_hypo

install() {
  [ -e "$prefix/bin/python" ] || python3 -m venv --without-pip "$prefix"
  python3 -m pip --python "$prefix/bin/python" install --no-input --no-cache-dir --no-compile --quiet \
    --no-warn-script-location -c constraints.txt -c container/constraints-gpu.txt "$@"
}

# What setup.cfg asks for, with the extras that a user of the image may need; TensorFlow is chosen by the target.
requirements() {
  python3 - <<'P'
import configparser, re
config = configparser.ConfigParser()
config.read("setup.cfg")
extras = config["options.extras_require"]
lines = "\n".join([config["options"]["install_requires"], extras["gui"], extras["cluster"]]).splitlines()
names = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
print("\n".join(name for name in names if not re.match(r"(tensorflow|tf_keras)\b", name)))
P
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
    version=$(sed -n 's/^tensorflow==//p' constraints.txt)
    if [ "$2" = cpu ]; then install "tensorflow-cpu==$version"; else install "tensorflow[and-cuda]==$version"; fi
    install --no-deps tf_keras  # its dependency "tensorflow" would come on top of tensorflow-cpu
    requirements >/tmp/requirements.txt
    install -r /tmp/requirements.txt
    trim
    compile "$prefix/lib"
    ;;
  "package "*)
    install --no-deps --root "${2:-/}" .
    compile "${2-}$prefix/lib"
    ;;
  *)
    sed -n '2,6p' "$0" >&2
    exit 2
    ;;
esac
