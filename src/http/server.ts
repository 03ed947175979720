import { fastifyHelmet } from '@fastify/helmet';
import {
  fastify,
  type FastifyInstance,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import type { Config } from '../config/schema.ts';
import { withoutEndSlash } from '../core/end-slash.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { Daemon } from '../daemon.ts';
import { accessLog } from './access-log.ts';
import { bearerAuth, hostGuard, trustedBy } from './auth.ts';
import {
  answerClientError,
  answerError,
  errorHandler,
  notFound,
  unreachableStore,
  validateByZod,
} from './errors.ts';
import { dashboard, readPage } from './dashboard.ts';
import {
  bodyBudget,
  connections,
  createNodeServer,
  deadline,
  type ConnectionLimits,
} from './connections.ts';
import { heavyReads } from './heavy-reads.ts';
import { limitedCursors } from './limited-cursors.ts';
import { idempotency } from './idempotency.ts';
import { jsonBody } from './json-body.ts';
import { DeliverySlice } from './deliveries.ts';
import { EventSlice } from './events.ts';
import { openapi } from './openapi.ts';
import { healthRoutes, type Health } from './health.ts';
import { refusal } from './problem.ts';
import { addRoutes } from './routing.ts';
import type { Services } from './services.ts';
import { Sessions } from './session.ts';
import type { StreamLimits } from './sse.ts';
import { WatchSlice } from './watches.ts';

export interface ServerLimits extends ConnectionLimits, StreamLimits {
  /** From a request to its answer; streams are exempt. */
  handlerMs: number;
  /** How long a heavy read waits for its turn. */
  heavyReadWaitMs: number;
}

const LIMITS: ServerLimits = {
  connections: 1_024,
  requestsPerConnection: 2,
  headersMs: 10_000,
  handlerMs: 30_000,
  heavyReadWaitMs: 5_000,
  heartbeatMs: 15_000,
  stallMs: 30_000,
  // Above the limit of every route, which has an answer with words.
  requestMs: 60_000,
  // Above the idle time-outs of common proxies (60 s), so that they hang up first.
  keepAliveMs: 72_000,
  silenceMs: 90_000,
};

const BODY_BYTES = 1_048_576;

/** Longer than any path parameter may be, so that those are refused with words. */
const PATH_PARAMETER_LENGTH = 4_096;

/** A factory that is never called, since both compilers are set; Fastify would load ajv for its own. */
const noCompiler = (): never => {
  throw new Error('a schema has no compiler');
};

/**
 * The HTTP server with all its routes; it does not listen yet. `close()` ends open streams.
 * @param stopping aborts when the process begins to stop: then readiness fails
 */
export function createServer(
  daemon: Daemon,
  services: Services,
  stopping: AbortSignal,
  given: Partial<ServerLimits> = {},
): FastifyInstance {
  const limits = { ...LIMITS, ...given };
  const app = openApp(daemon.config.server.public_url, limits);
  registerPlugins(app, { daemon, services, stopping, limits });
  return app;
}

/**
 * The HTTP server of a process that waits until it may work: it answers probes, by the checks that are given, and
 * refuses all else with the first of them.
 */
export function createWaitingServer(
  waiting: Pick<Health, 'checks'>,
  { public_url: publicUrl }: Pick<Config['server'], 'public_url'>,
  stopping: AbortSignal,
): FastifyInstance {
  const app = openApp(publicUrl, LIMITS);
  void app.register(connections, { most: LIMITS.connections, isTrusted: () => false });
  void app.register(errorHandler);
  app.addHook('onRequest', async ({ routeOptions: { config } }) => {
    if (config.probe === true) return;
    const [{ detail } = { detail: '' }] = await waiting.checks();
    throw refusal('store_migrating', detail);
  });
  void app.register(healthRoutes, { health: waiting, metrics: undefined, stopping });
  return app;
}

/** A server without routes. */
function openApp(publicUrl: string | undefined, limits: ConnectionLimits): FastifyInstance {
  const app = fastify({
    serverFactory: (handle) => createNodeServer(handle, limits),
    bodyLimit: BODY_BYTES,
    routerOptions: { maxParamLength: PATH_PARAMETER_LENGTH },
    ...rewriting(publicUrl),
    // What comes while the server closes is still served, and its connection closed after it.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => void answerError(error, request, reply),
    clientErrorHandler: answerClientError,
    schemaController: {
      compilersFactory: { buildValidator: noCompiler, buildSerializer: noCompiler },
    },
  });
  app.setValidatorCompiler(validateByZod);
  // Answers are typed by their schemas; checking them again would only turn an oddity into a 500.
  app.setSerializerCompiler(() => (answer) => JSON.stringify(answer));
  return app;
}

/**
 * Takes the path of the public address off requests that still have it: some proxies leave it there, and
 * others do not.
 */
function rewriting(publicUrl: string | undefined): Pick<FastifyServerOptions, 'rewriteUrl'> {
  const prefix = publicUrl === undefined ? '' : withoutEndSlash(new URL(publicUrl).pathname);
  if (prefix === '') return {};
  return {
    rewriteUrl: ({ url = '/' }) => (url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : url),
  };
}

/** What the server is made of. */
interface Made {
  daemon: Daemon;
  services: Services;
  stopping: AbortSignal;
  limits: ServerLimits;
}

function registerPlugins(app: FastifyInstance, made: Made): void {
  const { daemon, services, stopping, limits } = made;
  const { config, log, metrics, tokens, version } = daemon;
  const { public_url: publicUrl } = config.server;
  const sessions = new Sessions(daemon);
  const page = readPage();
  void app.register(connections, {
    most: limits.connections,
    isTrusted: trustedBy(tokens, sessions),
  });
  void app.register(errorHandler);
  void app.register(accessLog, { log, metrics });
  void app.register(deadline, { limitMs: limits.handlerMs });
  void app.register(fastifyHelmet, {
    // TLS, where there is any, is a proxy's: it must not be promised from here.
    strictTransportSecurity: false,
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
  });
  void app.register(hostGuard, { tokens });
  void app.register(notFound, { page });
  void app.register(bearerAuth, { tokens, sessions, public: config.auth.public });
  void app.register(limitedCursors, { sealer: daemon.secrets.sealer });
  void app.register(bodyBudget);
  void app.register(jsonBody);
  void app.register(openapi, { version, publicUrl });
  void app.register(dashboard, { daemon, sessions, page });
  void app.register(healthRoutes, { health: services.health, metrics, stopping });
  void app.register(apiRoutes, { ...made, sessions, prefix: '/v1' });
}

async function refuseToSend({ routeOptions: { config } }: FastifyRequest): Promise<void> {
  if (config.sends !== true) return;
  throw refusal(
    'sends_nothing',
    'it was started with --no-deliver, so that deliveries wait and no run is stopped: start it without, to send them',
  );
}

async function apiRoutes(
  app: FastifyInstance,
  { daemon, services, sessions, limits }: Made & { sessions: Sessions },
): Promise<void> {
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
  });
  if (daemon.sendsNothing) app.addHook('onRequest', refuseToSend);
  await app.register(idempotency, { repeats: services.repeats });
  await app.register(unreachableStore, { connections: daemon.connections });
  await app.register(heavyReads, { waitMs: limits.heavyReadWaitMs });
  const events = new EventSlice(services.events, daemon.tokens, sessions, limits);
  app.addHook('preClose', async () => events.close());
  const { alerts, attention, audit, batches, endpoints, lookup, polling, processes } = services;
  const { rules, silences, sources, stops, storage, webhooks, workflows } = services;
  addRoutes(app, {
    watches: new WatchSlice(services.watches, batches),
    stops,
    batches,
    events,
    deliveries: new DeliverySlice(services.deliveries, endpoints),
    alerts,
    silences,
    rules,
    endpoints,
    webhooks,
    lookup,
    workflows,
    polling,
    processes,
    storage,
    sources,
    attention,
    audit,
  });
}

/**
 * Begins to listen.
 * @returns the URL of the server
 * @throws RunwatchError `port_in_use`, `cannot_listen`
 */
export async function listen(
  app: FastifyInstance,
  { host, port }: { host: string; port: number },
): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (error) {
    const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    throw new RunwatchError(
      isTaken
        ? `port ${port} of ${host} is in use by another process; stop that one or choose another port`
        : `cannot listen on port ${port} of ${host}: ${messageOf(error)}`,
      { code: isTaken ? 'port_in_use' : 'cannot_listen', cause: error },
    );
  }
}
