# fsroute in a container: docker build --tag fsroute .   How to run it, and what was tried where: docs/docker.md.

# By digest: a tag alone can be another image tomorrow.
ARG PYTHON=docker.io/library/python:3.13.12-slim-bookworm@sha256:a58daefb915e1e03ad48f3ca4df8832065412c5c35cacb9d39f4229184de12b6

FROM ${PYTHON} AS build
WORKDIR /build
COPY pyproject.toml setup.cfg setup.py constraints.txt LICENSE README.md schema.sql ./
COPY fsroute fsroute
RUN python3 -m venv /opt/fsroute \
    && /opt/fsroute/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt '.[postgresql]'

# What calls the switch in "make e2e-docker": the tests, with the same Python and libraries. The tests are mounted.
FROM build AS peers
RUN /opt/fsroute/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt '.[postgresql,test]'
ENV PATH=/opt/fsroute/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /src
USER 10001:10001
ENTRYPOINT ["pytest", "-p", "no:cacheprovider"]

FROM ${PYTHON}
COPY --from=build /opt/fsroute /opt/fsroute
RUN groupadd --gid 10001 fsroute \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin fsroute \
    && install --directory --owner=fsroute --group=fsroute /data
# Nothing is written but the SQLite database, and with PostgreSQL nothing at all: the root file system can be read-only.
ENV PATH=/opt/fsroute/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    FSROUTE_DB=sqlite:////data/fsroute.db \
    FSROUTE_LISTEN=127.0.0.1:8084
VOLUME /data
WORKDIR /data
USER 10001:10001
EXPOSE 8084
# A whole call, in FreeSWITCH's stead: accepted, looked up in the database or in what was read of it, answered. Nobody has
# this number: it is one of those that are reserved for films.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["sh", "-c", \
    "fsroute call --to +493023125999 --from healthcheck --host ${FSROUTE_LISTEN%:*} --port ${FSROUTE_LISTEN##*:} --timeout 5 \
    | grep -x 'call ended: UNALLOCATED_NUMBER'"]
ENTRYPOINT ["fsroute"]
CMD ["serve"]
