# The `waybill` command without the embedded services, run from a copy of the checkout: there is no wheel of it
# (docs/decisions/0020-no-wheel.md). The base is an argument for whoever mirrors it.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# pip's own settings, for those who install through a mirror; unset they change nothing.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# requirements-otel.txt makes an image that can trace webhooks (docs/operating.md, Traces).
ARG REQUIREMENTS=requirements.txt
WORKDIR /build
COPY requirements.txt requirements-otel.txt ./
RUN python -m venv --without-pip /opt/waybill \
    && python -m pip --python /opt/waybill/bin/python install --require-hashes -r "$REQUIREMENTS"
# The locked build backend alone out of the development requirements; pip refuses if one of its own is missing.
COPY requirements-dev.txt ./
RUN awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } keep' \
    requirements-dev.txt > requirements-build.txt \
    && python -m pip install --require-hashes -r requirements-build.txt
# What is installed is the path of the checkout and the command.
WORKDIR /opt/waybill/checkout
COPY . .
RUN python -m hatchling build --target wheel:editable --directory /build/dist \
    && python -m pip --python /opt/waybill/bin/python install --no-deps --no-index /build/dist/*.whl \
    && /opt/waybill/bin/python -m compileall -q .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/waybill waybill \
    && install --directory --owner=waybill --group=waybill --mode=0700 /var/lib/waybill /var/lib/waybill/spool
COPY --from=build /opt/waybill /opt/waybill
ENV PATH=/opt/waybill/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/waybill
# By number: Kubernetes cannot tell of a name whether it is root.
USER 10001:10001
ENTRYPOINT ["waybill"]
