import { fastifyHelmet } from '@fastify/helmet';
import { fastify, type FastifyInstance, type FastifyServerOptions } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { PublicArea } from '../config/schema.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { accessLog, type HttpLog } from './access-log.ts';
import { bearerAuth, hostGuard, trustedBy } from './auth.ts';
import {
  answerClientError,
  answerError,
  errorHandler,
  notFound,
  unreachableStore,
  validateByZod,
} from './errors.ts';
import { dashboard } from './dashboard.ts';
import {
  bodyBudget,
  connections,
  createNodeServer,
  deadline,
  type ConnectionLimits,
} from './connections.ts';
import { heavyReads } from './heavy-reads.ts';
import { limitedCursors, type CursorSealer } from './limited-cursors.ts';
import { idempotency } from './idempotency.ts';
import { jsonBody } from './json-body.ts';
import { openapi } from './openapi.ts';
import { acknowledgementRoutes, watchRoutes } from './routes/watch.ts';
import { alertRoutes, ruleRoutes } from './routes/alerts.ts';
import { attentionRoute } from './routes/attention.ts';
import { deliveryRoutes, redeliverRoutes } from './routes/deliveries.ts';
import { endpointRoutes } from './routes/endpoints.ts';
import { eventStreamRoute, eventRoutes } from './routes/events.ts';
import { healthRoutes, type Metrics } from './routes/health.ts';
import { lookupRoutes } from './routes/lookup.ts';
import { webhookRoutes } from './routes/webhooks.ts';
import { workflowRoutes } from './routes/workflows.ts';
import { systemRoutes } from './routes/system.ts';
import { silenceRoutes } from './routes/silences.ts';
import { sourceRoutes } from './routes/sources.ts';
import { watchBatchRoute, watchesRoutes } from './routes/watches.ts';
import type { Services } from './services.ts';
import { createSessions, type Sessions } from './session.ts';
import type { StreamLimits } from './sse.ts';
import type { Tokens } from './tokens.ts';

interface ServerLimits extends ConnectionLimits {
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
  // Above the limit of every route, which has an answer with words.
  requestMs: 60_000,
  // Above the idle time-outs of common proxies (60 s), so that they hang up first.
  keepAliveMs: 72_000,
  silenceMs: 90_000,
};

const BODY_BYTES = 1_048_576;

/** Longer than any path parameter may be, so that those are refused with words. */
const PATH_PARAMETER_LENGTH = 4_096;

const STREAM_LIMITS: StreamLimits = { heartbeatMs: 15_000, stallMs: 30_000 };

export interface ServerOptions {
  services: Services;
  tokens: Tokens;
  /** Encrypts the cursors of limited tokens. */
  sealer: CursorSealer;
  /** What needs no token. */
  public: readonly PublicArea[];
  version: string;
  /** The address by which users reach the server, as its document names it. */
  publicUrl?: string | undefined;
  /** The settings in force, without secrets. */
  configuration?: () => Record<string, unknown>;
  log: HttpLog;
  /** Absent where this process collects none. */
  metrics?: Metrics;
  isDraining: () => boolean;
  /** False while the store is away. */
  isStoreReady: () => boolean;
  /** Defaults to a heartbeat every 15 s and 30 s for readers that do not read. */
  streamLimits?: StreamLimits;
  limits?: Partial<ServerLimits>;
}

/** A factory that is never called, since both compilers are set; Fastify would load ajv for its own. */
const noCompiler = (): never => {
  throw new Error('a schema has no compiler');
};

/** The HTTP server with all its routes; it does not listen yet. `close()` ends open streams. */
export function createServer(options: ServerOptions): FastifyInstance {
  const limits = { ...LIMITS, ...options.limits };
  const app = fastify({
    serverFactory: (handle) => createNodeServer(handle, limits),
    bodyLimit: BODY_BYTES,
    routerOptions: { maxParamLength: PATH_PARAMETER_LENGTH },
    ...rewriting(options.publicUrl),
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
  registerPlugins(app, options, limits);
  return app;
}

/**
 * Takes the path of the public address off requests that still have it: some proxies leave it there, and
 * others do not.
 */
function rewriting(publicUrl: string | undefined): Pick<FastifyServerOptions, 'rewriteUrl'> {
  const prefix = publicUrl === undefined ? '' : new URL(publicUrl).pathname.replace(/\/+$/, '');
  if (prefix === '') return {};
  return {
    rewriteUrl: ({ url = '/' }) => (url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : url),
  };
}

function registerPlugins(app: FastifyInstance, options: ServerOptions, limits: ServerLimits): void {
  const { services, tokens, log, version, isDraining, metrics } = options;
  const { isStoreReady } = options;
  const sessions = createSessions({ tokens, ended: services.endedSessions, isStoreReady });
  const isTrusted = trustedBy(tokens, sessions);
  void app.register(connections, { most: limits.connections, isTrusted });
  void app.register(errorHandler);
  const count = (route: string | null, status: number) => metrics?.httpRequest(route, status);
  void app.register(accessLog, { log, count });
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
  void app.register(notFound);
  void app.register(bearerAuth, { tokens, sessions, public: options.public });
  void app.register(limitedCursors, { sealer: options.sealer });
  void app.register(bodyBudget);
  void app.register(jsonBody);
  void app.register(openapi, { version, publicUrl: options.publicUrl });
  void app.register(dashboard, {
    tokens,
    sessions,
    version,
    configuration: options.configuration,
  });
  void app.register(healthRoutes, { health: services.health, isDraining, metrics });
  void app.register(apiRoutes, { ...options, sessions, limits, prefix: '/v1' });
}

async function apiRoutes(
  app: FastifyInstance,
  options: ServerOptions & { sessions: Sessions; limits: ServerLimits },
): Promise<void> {
  const { services, tokens, sessions, streamLimits = STREAM_LIMITS } = options;
  const api = app.withTypeProvider<ZodTypeProvider>();
  api.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
  });
  await api.register(idempotency, { repeats: services.repeats });
  await api.register(unreachableStore, { isReady: options.isStoreReady });
  await api.register(heavyReads, { waitMs: options.limits.heavyReadWaitMs });
  // They share hooks and decorators: none needs a plugin of its own.
  await watchesRoutes(api, services);
  await watchRoutes(api, services);
  await watchBatchRoute(api, services);
  await acknowledgementRoutes(api, services);
  await eventRoutes(api, services);
  await eventStreamRoute(api, {
    events: services.events,
    tokens,
    sessions,
    limits: streamLimits,
  });
  await deliveryRoutes(api, services);
  await redeliverRoutes(api, services);
  await alertRoutes(api, services);
  await silenceRoutes(api, services);
  await ruleRoutes(api, services);
  await endpointRoutes(api, services);
  await webhookRoutes(api, services);
  await lookupRoutes(api, services);
  await workflowRoutes(api, services);
  await systemRoutes(api, services);
  await sourceRoutes(api, services);
  await attentionRoute(api, services);
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
