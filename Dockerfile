# Alpine is a third of the size of the Debian image, and no dependency at run time needs glibc.
FROM node:24-alpine AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.types.json vite.config.ts ./
COPY scripts ./scripts
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-alpine
LABEL org.opencontainers.image.title="runwatch" \
    org.opencontainers.image.description="Watches runs of APIs and notifies people and systems of what becomes of them" \
    org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production \
    RUNWATCH_HOST=0.0.0.0 \
    RUNWATCH_DATA_DIR=/data
# For a start without REDIS_URL: then the daemon runs its own server, with its data in /data, the only
# place that it writes to. Run it with --read-only --tmpfs /tmp --cap-drop ALL
# --security-opt no-new-privileges, and give secrets as files: -e NOXUS_API_KEY_FILE=/run/secrets/…
RUN apk add --no-cache valkey && install -d -o node -g node -m 700 /data
WORKDIR /app
# Owned by root: the process cannot change its own code.
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY config ./config
# By number: Kubernetes cannot tell that a name is not root.
USER 1000:1000
VOLUME /data
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.RUNWATCH_PORT ?? 8787}/readyz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Node as process 1 gets the signals itself; the daemon handles SIGTERM and SIGINT. What hundreds of
# requests hold for some milliseconds fits a young generation of this size (MiB), and is not moved about.
ENTRYPOINT ["node", "--max-semi-space-size=32", "dist/main.js"]
CMD ["serve"]
