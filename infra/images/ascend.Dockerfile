# Training on Ascend: CANN's image and the locked environment on it. The sets of versions are those of
# mixnet_core/host/known_sets.py; docker-bake.json beside this file has an image for two of them:
#
#     docker buildx bake -f infra/images/docker-bake.json ascend
#
# Driver and firmware are the host's and are mounted (infra/README.md). Never built or run: no card
# and no registry of images was at hand.
ARG CANN=9.1.0
ARG CHIP=910b
ARG BASE_PYTHON=3.11
FROM quay.io/ascend/cann:${CANN}-${CHIP}-ubuntu22.04-py${BASE_PYTHON}

ARG CANN=9.1.0
ARG MINDSPORE=2.10.0
# A wheel's address, where MindSpore's is not the one that requirements.txt locks.
ARG MINDSPORE_WHEEL=""
ARG DRIVER=26.0.RC1
ARG FIRMWARE=""
LABEL org.opencontainers.image.title="mixnet for Ascend" \
      mixnet.mindspore=${MINDSPORE} \
      mixnet.cann=${CANN} \
      mixnet.driver=${DRIVER} \
      mixnet.firmware=${FIRMWARE}

USER 0
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive

# Some of CANN's images have Python 3.10 only, and this package wants 3.11.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates g++ libgomp1 procps tini \
    && { command -v python3.11 \
         || apt-get install -y --no-install-recommends python3.11 python3.11-venv; } \
    && rm -rf /var/lib/apt/lists/*

RUN "$(command -v python3.11)" -m venv /opt/mixnet
ENV PATH=/opt/mixnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    LD_LIBRARY_PATH=/usr/local/Ascend/driver/lib64:/usr/local/Ascend/driver/lib64/common:/usr/local/Ascend/driver/lib64/driver:$LD_LIBRARY_PATH

WORKDIR /opt/source
COPY requirements.txt ./
# A MindSpore that nobody locked takes the place of the locked one, everything else keeps its hash.
RUN if [ -z "${MINDSPORE_WHEEL}" ]; then cp requirements.txt others.txt; \
    else awk '/^[a-zA-Z]/ { out = /^mindspore==/ } !out' requirements.txt > others.txt; fi \
    && pip install --no-cache-dir --disable-pip-version-check --require-hashes -r others.txt
# Which version it is, its address says, and the line after it checks.
# hadolint ignore=DL3013
RUN if [ -n "${MINDSPORE_WHEEL}" ]; then \
    pip install --no-cache-dir --disable-pip-version-check --no-deps "${MINDSPORE_WHEEL}"; fi \
    && python -c "from importlib.metadata import version; found = version('mindspore'); assert found == '${MINDSPORE}', found"
COPY LICENSE README.md pyproject.toml setup.py ./
COPY mixnet_core mixnet_core
COPY flows flows
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .
COPY --chmod=755 infra/images/worker.sh /usr/local/bin/mixnet-worker
COPY --chmod=755 infra/images/ascend.sh /usr/local/bin/with-cann

# The group of /dev/davinci* on hosts that Ascend's installer set up has this number.
RUN (getent group 1000 || groupadd --gid 1000 HwHiAiUser) \
    && useradd --system --uid 10001 --gid 1000 --create-home --home-dir /var/lib/mixnet mixnet
USER 10001
WORKDIR /var/lib/mixnet
ENV MIXNET_HOME=/var/lib/mixnet/workspace

ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/with-cann"]
CMD ["mixnet", "check", "--host"]
