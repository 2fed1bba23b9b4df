# syntax=docker/dockerfile:1
# One broker, alone or of a cluster, on Node 24 with the native WebSocket engine. docs/deploy.md says how to run it.
# trixie, not bookworm: the builds of uWebSockets.js want a glibc of 2.38.
ARG NODE_IMAGE=node:24-trixie-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /millrace
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
COPY workers workers
# Not `npm run build`: the bundles are for those who import the package, and the broker runs without.
RUN node node_modules/typescript/bin/tsc -p . && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

# Not in the npm registry, so npm fetches it with git; only the build for this platform and Node is kept, and it must load.
FROM ${NODE_IMAGE} AS uws
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates git \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /uws
RUN npm install --no-save --ignore-scripts --no-audit --no-fund uNetworking/uWebSockets.js#v20.52.0 \
  && keep=$(node -p '`uws_${process.platform}_${process.arch}_${process.versions.modules}.node`') \
  && find node_modules/uWebSockets.js -name 'uws_*.node' ! -name "$keep" -delete \
  && node -e 'require("uWebSockets.js").SSLApp.name'

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
WORKDIR /millrace
COPY package.json LICENSE ./
COPY config config
COPY --from=build /millrace/node_modules node_modules
COPY --from=build /millrace/dist/src dist/src
COPY --from=build /millrace/dist/workers dist/workers
COPY --from=uws /uws/node_modules/uWebSockets.js node_modules/uWebSockets.js
RUN chmod +x dist/src/cli/main.js \
  && ln -s /millrace/dist/src/cli/main.js /usr/local/bin/millrace \
  && install --directory --owner=node --group=node /data
USER node
VOLUME /data
EXPOSE 7171 9092
# The port it asks is the one `millrace` uses inside the container.
ENV MILLRACE_SERVER=ws://127.0.0.1:7171
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m --start-interval=1s \
  CMD ["node", "-e", "fetch(`${process.env.MILLRACE_SERVER.replace('ws', 'http')}/readyz`).then((reply) => process.exit(reply.ok ? 0 : 1), () => process.exit(1))"]
# Orderly: drains, syncs, writes the clean marker. It may take 70 s on a slow disk: docker stop --time 90.
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/millrace/dist/src/cli/main.js"]
CMD ["start", "--listen", "0.0.0.0:7171", "--kafka", "0.0.0.0:9092", "--data-dir", "/data"]
