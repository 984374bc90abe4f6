# One image for every role: worker, watcher, topic set-up. docker-compose.yml names the command of each.
FROM python:3.12-slim

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

WORKDIR /opt/penstock
# Only what the package is built from, so that no local environment gets into the image.
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY connectors connectors
COPY schemas schemas
# Which kinds of servables: docker build --build-arg EXTRAS=openvino,torch . (docs/servables/README.md lists them)
ARG EXTRAS=openvino
RUN pip install --constraint constraints.txt ".[${EXTRAS}]"

# A volume mounted here for the first time takes over the owner, so that a worker needs no root to read or write it.
RUN useradd --create-home --uid 10001 penstock \
    && install --directory --owner penstock --group penstock /models
USER penstock
# Not the checkout: what runs is what was installed.
WORKDIR /home/penstock

EXPOSE 6066
ENTRYPOINT ["penstock"]
# In a container the pages are for others: probes, Prometheus.
CMD ["worker", "--web-host", "0.0.0.0"]
