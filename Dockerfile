# ihf-harmony as an image.
#
#   docker build --tag ihf-harmony .                               CPU only, below 2 GB
#   docker build --tag ihf-harmony:cuda --build-arg TORCH=cu126 .  NVIDIA GPUs, driver 525.60.13 or newer
#
# The stages: Python, then the pinned requirements, then the package, then what is shipped of it all.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
# ca-certificates is left out on purpose: nothing in the image goes to the network.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log /usr/share/doc/*


FROM python AS requirements
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv ca-certificates \
    && python3 -m venv /opt/ihf-harmony
ENV PATH=/opt/ihf-harmony/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# cpu, or a CUDA build of PyTorch: cu126 (driver 525.60.13 or newer), cu130 (580.65 or newer).
ARG TORCH=cpu
# Where PyTorch's builds are; leave it empty where pip is configured to find them by itself.
ARG TORCH_INDEX=https://download.pytorch.org/whl
COPY constraints.txt ./
RUN pip install torch --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}/${TORCH}} \
    && case "${TORCH}" in \
        cpu) python -c "import torch; assert torch.version.cuda is None, torch.version.cuda" ;; \
        *) python -c "import torch; assert torch.version.cuda, 'this PyTorch has no CUDA'" ;; \
    esac

# What the package needs comes before its code: the code changes, this layer stays.
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && pip install --requirement requirements.txt --constraint constraints.txt

# PyTorch's headers and test programs serve those who compile against it.
RUN cd "$(python -c 'import os, torch; print(os.path.dirname(torch.__file__))')" \
    && rm -rf include test share \
    && find bin -type f ! -name torch_shm_manager -delete


FROM requirements AS package
COPY README.md LICENSE ./
COPY bids_ihf bids_ihf
RUN pip install --no-deps . && pip uninstall --yes setuptools pip
COPY tests/containers/smoke.py constraints.txt /opt/ihf-harmony/share/
RUN chmod -R a+rX,go-w /opt/ihf-harmony/share


FROM python
COPY --from=package /opt/ihf-harmony /opt/ihf-harmony

ARG VERSION=0.2.0.dev0
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=

# Caches go to /tmp, so that the image may be read-only and HOME missing.  One thread for each
# library: how many an image gets is for --n-procs and --omp-nthreads to say.
ENV PATH=/opt/ihf-harmony/bin:$PATH \
    PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/ihf-matplotlib \
    OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMEXPR_NUM_THREADS=1 \
    ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NO_ET=1 NIPYPE_NO_ET=1 HF_HUB_OFFLINE=1 DENO_NO_UPDATE_CHECK=1 \
    IHF_CONTAINER_TYPE=docker IHF_CONTAINER_TAG=${VERSION}

# What cannot be loaded, is not pinned, or weights that are not what they say must not become an image.
RUN env -u HOME python /opt/ihf-harmony/share/smoke.py --version "${VERSION}" \
        --constraints /opt/ihf-harmony/share/constraints.txt \
    && rm -rf /tmp/*

LABEL org.opencontainers.image.title="ihf-harmony" \
      org.opencontainers.image.description="BIDS App that makes brain MRI from different scanners comparable" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.url="https://arxiv.org/abs/2602.21536" \
      org.opencontainers.image.documentation="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"

WORKDIR /tmp
ENTRYPOINT ["/opt/ihf-harmony/bin/ihf-harmony"]
CMD ["--help"]
