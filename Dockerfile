# The image from sources: the same files in the same places as `npm run image -- --out FILE` makes
# without a builder (scripts/image/contents.mjs); test/chart/image.test.ts holds the rest to it.
FROM node:22-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      ca-certificates cmake curl g++ git libatomic1 libclang-dev make
ENV CARGO_HOME=/opt/cargo RUSTUP_HOME=/opt/rustup
RUN curl --proto '=https' --tlsv1.2 -sSf -o /tmp/rustup-init \
      "https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu/rustup-init" && \
    chmod +x /tmp/rustup-init && \
    /tmp/rustup-init -y --no-modify-path --profile minimal --default-toolchain stable
ENV PATH=/opt/cargo/bin:$PATH
WORKDIR /src
COPY . .
# The release of the CRS that is baked in; a folder of the context with it, where it cannot be fetched.
ARG RULES_VERSION=4.28.0
ARG RULES=""
RUN npm run --silent image -- --root /image --rules-version "$RULES_VERSION" ${RULES:+--rules "$RULES"}

FROM scratch
ARG RULES_VERSION=4.28.0
LABEL org.opencontainers.image.title="quic-proxy-waf" \
      org.opencontainers.image.description="An edge proxy for HTTP/1.1, HTTP/2 and HTTP/3 with a WAF" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      quic-proxy-waf.rules="$RULES_VERSION"
COPY --from=build /image/ /
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/quic-proxy-waf \
    STATE_DIRECTORY=/var/lib/quic-proxy-waf \
    CACHE_DIRECTORY=/var/cache/quic-proxy-waf \
    NODE_COMPILE_CACHE=/var/cache/quic-proxy-waf/node \
    MALLOC_ARENA_MAX=2 \
    SSL_CERT_FILE=/usr/share/quic-proxy-waf/ca-certificates.pem \
    SSL_CERT_DIR=/usr/share/quic-proxy-waf/ca-certificates.d
USER 65532:65532
WORKDIR /
EXPOSE 80/tcp 443/tcp 443/udp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/edge"]
CMD ["run"]
