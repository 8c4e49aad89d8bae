# Server, store, worker and watch on CPUs: one image, because one locked environment has them all.
#
#     docker build -f infra/images/cpu.Dockerfile -t mixnet:cpu .
#
# Debian 12 and its Python 3.11 are what the tests run on.
FROM debian:bookworm-slim

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# tini hands signals on and reaps what is left.
# No versions: Debian keeps one of each, and a pin is gone with its next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
       ca-certificates libgomp1 libstdc++6 procps python3 python3-venv tini \
    && rm -rf /var/lib/apt/lists/*

RUN python3 -m venv /opt/mixnet
ENV PATH=/opt/mixnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false

WORKDIR /opt/source
# Alone, so that a change of the source fetches nothing again.
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt
COPY LICENSE README.md pyproject.toml setup.py ./
COPY mixnet_core mixnet_core
COPY flows flows
# The compiler makes the native operators for all kinds of CPU, and is not needed after that.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
    && apt-get purge -y --auto-remove g++ \
    && rm -rf /var/lib/apt/lists/*
COPY --chmod=755 infra/images/worker.sh /usr/local/bin/mixnet-worker

# Nothing here needs root. A volume that is mounted at its home is this user's.
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/mixnet mixnet
USER 10001
WORKDIR /var/lib/mixnet
ENV MIXNET_HOME=/var/lib/mixnet/workspace

ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["mixnet", "check", "--host"]
