# bids_hypo as a container image.
#
#   docker build -t bids_hypo:0.2.0 .                      gpu: TensorFlow with its CUDA libraries; runs without a GPU too
#   docker build --target cpu -t bids_hypo:0.2.0-cpu .     cpu: less than half the size
#
# How to run it: docs/howto/container.md.

# The digest, not the tag, decides what is taken; `make base TAG=...` writes both (docs/howto/container.md).
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm@sha256:c425d915a89a6dcd3183b1797ad9bd8878caff5a417f6371c8df93c8ea8b727f

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY container/install.sh container/
COPY container/locks container/locks

FROM build AS package
COPY . .
RUN sh container/install.sh package /package

FROM build AS dependencies-cpu
RUN sh container/install.sh dependencies cpu

FROM dependencies-cpu AS sbom-cpu
COPY --from=package /package /
COPY container/sbom.py container/
RUN sh container/install.sh sbom /sbom

FROM ${PYTHON_IMAGE} AS runtime
ARG VERSION=0.2.0
ARG REVISION=unknown
ARG CREATED=unknown
RUN python3 -m pip uninstall --yes --quiet pip setuptools wheel \
 && useradd --uid 1000 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin bids_hypo
# HOME is a folder that any user may write to, and USER a name for those who have none: `--user` may be any number.
# One thread for BLAS and OpenMP: TensorFlow's own threads do the work, and follow --omp-nthreads.
ENV PATH=/opt/bids_hypo/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    HOME=/tmp \
    USER=bids_hypo \
    PYTHONNOUSERSITE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLBACKEND=Agg \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    GRADIO_ANALYTICS_ENABLED=False \
    HF_HUB_OFFLINE=1 \
    BIDS_HYPO_CONTAINER=docker:bids_hypo:${VERSION}
LABEL org.opencontainers.image.title="bids_hypo" \
      org.opencontainers.image.description="Hypothalamus and intracranial volumes from T1-weighted MRI, as a BIDS App" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-3.0-only" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.16-slim-bookworm" \
      org.opencontainers.image.base.digest="sha256:c425d915a89a6dcd3183b1797ad9bd8878caff5a417f6371c8df93c8ea8b727f" \
      bids_hypo.sbom="/opt/bids_hypo/share/bids_hypo.cdx.json"
# The page of `bids_hypo gui`.
EXPOSE 7860
USER 1000:1000
ENTRYPOINT ["/opt/bids_hypo/bin/bids_hypo"]
CMD ["--help"]

FROM runtime AS cpu
COPY --from=dependencies-cpu /opt/bids_hypo /opt/bids_hypo
COPY --from=package /package /
COPY --from=sbom-cpu /sbom /

FROM build AS dependencies-gpu
RUN sh container/install.sh dependencies gpu

FROM dependencies-gpu AS sbom-gpu
COPY --from=package /package /
COPY container/sbom.py container/
RUN sh container/install.sh sbom /sbom

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=dependencies-gpu /opt/bids_hypo /opt/bids_hypo
COPY --from=package /package /
COPY --from=sbom-gpu /sbom /
