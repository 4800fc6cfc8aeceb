# One image for every process: docker run IMAGE python -m consumer | python -m producers stream | python -m schema migrate
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /app

# Everything comes as a wheel with a known hash: no compiler, no build step, the same bytes as in the tests.
COPY requirements.txt ./
RUN ["python", "-m", "pip", "install", "--require-hashes", "--only-binary=:all:", "--requirement", "requirements.txt"]

COPY schema/ schema/
COPY producers/ producers/
COPY consumer/ consumer/
RUN ["python", "-m", "compileall", "-q", "schema", "producers", "consumer"]

# What runs here may write nothing, and is nobody in particular.
ENV PYTHONDONTWRITEBYTECODE=1 \
    HTTP_HOST=0.0.0.0 \
    HTTP_PORT=8080
USER 10001:10001
EXPOSE 8080

# No HEALTHCHECK: the jobs of this image have no health page. compose.yaml asks /healthz where there is one.
CMD ["python", "-m", "consumer"]
