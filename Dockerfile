# The worker's image: `pip install .` and nothing else. No torch, no compiler, no package index
# at run time; it runs as an unprivileged user on a read-only file system.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/frontpage
WORKDIR /src
COPY requirements.lock ./
# Each file by its checksum: the same image tomorrow, whoever serves the index.
# Wheels only: a dependency that would have to be compiled is a mistake to notice here.
RUN /opt/frontpage/bin/pip install --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY worker worker
COPY export export
RUN /opt/frontpage/bin/pip install --no-deps .

FROM python:${PYTHON}-slim
COPY --from=build /opt/frontpage /opt/frontpage
# A fixed number, so that Kubernetes' runAsNonRoot and volume permissions can rely on it.
RUN useradd --system --uid 10001 --user-group --no-create-home frontpage \
    && install -d -o frontpage -g frontpage /var/lib/frontpage
ENV PATH=/opt/frontpage/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FRONTPAGE_BUNDLE=/bundle \
    FRONTPAGE_DATA_DIR=/var/lib/frontpage \
    FRONTPAGE_METRICS_PORT=9464 \
    NUMBA_CACHE_DIR=/var/lib/frontpage/compiled
USER 10001:10001
WORKDIR /var/lib/frontpage
# Healthy means: the worker has all it needs and gets on; see docs/operations.md.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 \
    CMD ["python", "-m", "worker.health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["frontpage"]
CMD ["worker"]
