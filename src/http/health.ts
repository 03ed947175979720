import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { messageOf } from '../core/errors.ts';
import type { HealthCheck } from '../core/health-check.ts';
import type { MemoryFigures } from '../core/redis-memory.ts';
import { overdueText } from '../core/source/overdue.ts';
import { readsText } from '../core/source/read-times.ts';
import type { Daemon } from '../daemon.ts';
import type { StoreState } from '../redis/store-state.ts';
import type { UnreadList } from '../source/discovery.ts';
import type { Source } from '../source/source.ts';
import type { LogTrouble } from '../telemetry/log-output.ts';
import { describeRemnants, type Remnants } from '../watches/unconfigured.ts';
import { endpointTroubles } from './endpoints.ts';
import { refusal } from './problem.ts';
import { problemAnswer } from './schemas/common.ts';
import { readinessSchema } from './schemas/system.ts';
import {
  troubledSources,
  unknownSources,
  type SourceTrouble,
  type UnknownSource,
} from './sources.ts';

/** After this long Redis counts as away: probes do not wait longer either, ms. */
const ANSWER_TIMEOUT_MS = 1_000;

/** The checks of readiness. A failure of a source only degrades: the daemon remains ready. */
export class Health {
  constructor(private readonly daemon: Daemon) {}

  async checks(): Promise<HealthCheck[]> {
    const { daemon } = this;
    const { poller, deliverer, storeGuard, storeConditions, hostShortages } = daemon;
    const [written, closed, unknown, troubles, remnants, failing, figures] = await Promise.all([
      daemon.connections.tryWrite(),
      answerOf(() => troubledSources(poller.sources)),
      answerOf(() => unknownSources(poller.sources)),
      answerOf(() => poller.discovery.troubles()),
      answerOf(() => daemon.unconfigured.find()),
      answerOf(() => endpointTroubles(daemon)),
      answerOf(() => daemon.stores.memory.figures()),
    ]);
    return [
      redisCheck(written),
      ...[daemon.dataDirectory.check() ?? []].flat(),
      ...logChecks(daemon.eventLog.trouble()),
      ...degradedBy('descriptors', hostShortages.trouble()),
      ...degradedBy('store', storeGuard.trouble(), ...storeConditions.troubles()),
      ...memoryChecks(figures),
      workerCheck('poll workers', poller.isRunning()),
      daemon.sendsNothing ? SENDS_NOTHING : workerCheck('delivery worker', deliverer.isRunning()),
      sourcesCheck(closed, unknown),
      ...pollsChecks(poller.sources),
      ...discoveryChecks(troubles),
      ...endpointsChecks(failing ?? []),
      ...this.configurationChecks(remnants),
    ];
  }

  /** No line when daemons agree, the file was right, and all that the store and rules name is configured. */
  private configurationChecks(remnants: Remnants | null): HealthCheck[] {
    const { alertRules, reload, storeConditions } = this.daemon;
    const lines = [
      storeConditions.disagreement()?.text ?? [],
      reload.trouble() ?? [],
      remnants === null ? [] : describeRemnants(remnants),
      alertRules.unknown.map(
        ({ rule, endpoint }) =>
          `the rule ${rule} notifies ${endpoint}, which is no endpoint: configure it, or correct the rule`,
      ),
    ].flat();
    if (lines.length === 0) return [];
    return [{ name: 'configuration', status: 'degraded', detail: lines.join('; ') }];
  }
}

/** The answer; null on an error, or when none comes in time. */
async function answerOf<Answer>(ask: () => Promise<Answer>): Promise<Answer | null> {
  const answer = ask().catch(() => null);
  return Promise.race([answer, delay(ANSWER_TIMEOUT_MS, null, { ref: false })]);
}

function redisCheck(state: StoreState): HealthCheck {
  const name = 'redis';
  switch (state.kind) {
    case 'ok':
      return { name, status: 'ok', detail: 'takes writes' };
    case 'away':
      return { name, status: 'failed', detail: 'does not answer' };
    case 'refuses':
      return { name, status: 'failed', detail: `refuses: ${state.reason} (${state.code})` };
  }
}

/** No line while the log of this process can be written. */
function logChecks(trouble: LogTrouble | null): HealthCheck[] {
  if (trouble === null) return [];
  const detail = `no line was written since ${new Date(trouble.since).toISOString()}: ${trouble.reason}; deliveries to log endpoints wait, or another process makes them`;
  return [{ name: 'log', status: 'degraded', detail }];
}

/** No line without trouble: descriptors that ran out, data that was lost in the last hour or may be. */
function degradedBy(name: string, ...troubles: (string | null)[]): HealthCheck[] {
  const lines = troubles.filter((trouble) => trouble !== null);
  return lines.length === 0 ? [] : [{ name, status: 'degraded', detail: lines.join('; ') }];
}

/** No line where Redis does not say. */
function memoryChecks(figures: MemoryFigures | null): HealthCheck[] {
  if (figures === null) return [];
  const { used, max, live, settled, indexes, daysLeft, isScarce } = figures;
  const limit = max === null ? '' : ` of ${megabytes(max)}`;
  const parts = `live ${megabytes(live)}, settled ${megabytes(settled)}, indexes ${megabytes(indexes)}`;
  const days =
    daysLeft === null ? '' : `; at the rate of the last day ${daysText(daysLeft)} are left`;
  const cure = isScarce
    ? '; raise maxmemory (redis.maxmemory of the own Redis), or lower watches.retention'
    : '';
  const detail = `${megabytes(used)}${limit} are used: ${parts}${days}${cure}`;
  return [{ name: 'memory', status: isScarce ? 'degraded' : 'ok', detail }];
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toLocaleString('en', { maximumFractionDigits: 1 })} MB`;
}

function daysText(days: number): string {
  return days < 10 ? `${days.toFixed(1)} days` : `${Math.floor(days).toLocaleString('en')} days`;
}

function workerCheck(name: string, running: boolean): HealthCheck {
  return { name, status: running ? 'ok' : 'failed', detail: running ? 'running' : 'not running' };
}

/** Of a daemon that was started with --no-deliver. */
const SENDS_NOTHING: HealthCheck = {
  name: 'delivery worker',
  status: 'degraded',
  detail: '--no-deliver: nothing is sent or deleted',
};

/** No line while no polls are overdue, and runs are read as often as they are to be. */
function pollsChecks(sources: readonly Source[]): HealthCheck[] {
  const troubles = sources.flatMap((source) => {
    const [overdue, reads] = [source.overdue(), source.reads()];
    if (overdue !== null) return overdueText(overdue);
    return reads !== null && reads.stretched > 0 ? readsText(reads) : [];
  });
  return troubles.map((detail) => ({ name: 'polls', status: 'degraded', detail }));
}

function sourcesCheck(
  troubled: SourceTrouble[] | null,
  unknown: UnknownSource[] | null,
): HealthCheck {
  const name = 'sources';
  if (troubled === null || unknown === null)
    return { name, status: 'degraded', detail: 'not known without Redis' };
  const lines = [...troubled.map(({ text }) => text), ...unknown.map(describeUnknown)];
  if (lines.length === 0) return { name, status: 'ok', detail: 'every source answers' };
  const isWell = troubled.length === 0 && unknown.every(({ failure }) => failure === null);
  return { name, status: isWell ? 'ok' : 'degraded', detail: lines.join('; ') };
}

function describeUnknown({ name, failure }: UnknownSource): string {
  return `${name} has not answered yet${failure === null ? '' : ` (${failure})`}`;
}

/** No line while every endpoint takes deliveries. */
function endpointsChecks(troubles: string[]): HealthCheck[] {
  if (troubles.length === 0) return [];
  return [{ name: 'endpoints', status: 'degraded', detail: troubles.join('; ') }];
}

/** No line when discovery is not configured. */
function discoveryChecks(troubles: UnreadList[] | null): HealthCheck[] {
  if (troubles === null) return [];
  const name = 'discovery';
  const lines = troubles.map(({ text }) => text);
  return troubles.length === 0
    ? [{ name, status: 'ok', detail: 'every list can be read' }]
    : [{ name, status: 'degraded', detail: `cannot read ${lines.join('; ')}` }];
}

/** The text of the metrics registry; prom-client's registry is one as `{contentType, render}`. */
export interface Metrics {
  contentType: string;
  render(): Promise<string>;
  /** Counts an answered request; the route is null where none has its path. */
  httpRequest(route: string | null, status: number): void;
}

/** However often they are asked for, metrics are made at most so often, ms. */
const METRICS_INTERVAL_MS = 1_000;

interface HealthOptions {
  health: Pick<Health, 'checks'>;
  metrics: Metrics | undefined;
  /** Aborts when the process begins to stop. */
  stopping: AbortSignal;
}

const readinessAnswer = (description: string) => ({
  description,
  content: {
    'text/plain': {
      schema: z.string().meta({ examples: ['ok redis: takes writes\n'] }),
    },
    'application/json': { schema: readinessSchema },
  },
});

const open = { tags: ['Health'], security: [] };

const liveSchema = {
  ...open,
  operationId: 'livez',
  summary: 'Does the process answer?',
  response: { 200: { description: 'It does.', content: { 'text/plain': { schema: z.string() } } } },
};

const readySchema = {
  ...open,
  operationId: 'readyz',
  summary: 'Can the process do its work?',
  description: 'One line for each check, or JSON by `?format=json` or `Accept`.',
  querystring: z.strictObject({ format: z.enum(['text', 'json']).exactOptional() }),
  response: {
    422: problemAnswer('There is no such format.'),
    200: readinessAnswer('It can.'),
    503: readinessAnswer('It cannot, or is ending.'),
  },
};

const metricsSchema = {
  ...open,
  operationId: 'metrics',
  summary: 'Metrics for Prometheus',
  response: {
    200: {
      description: 'In the text format of Prometheus.',
      content: { 'text/plain': { schema: z.string() } },
    },
    404: problemAnswer('This process has no metrics.'),
  },
};

/** What machines ask about this process. None of it needs a token. */
export const healthRoutes: FastifyPluginAsyncZod<HealthOptions> = async (
  app,
  { health, metrics, stopping },
) => {
  const config = { probe: true };

  app.get('/livez', { schema: liveSchema, config }, async (_request, reply) => {
    reply.header('cache-control', 'no-store').type('text/plain; charset=utf-8');
    return 'ok\n';
  });

  app.get('/readyz', { schema: readySchema, config }, async ({ query, headers }, reply) => {
    const made = await checksOf(health);
    // Asked last: what ends meanwhile is no failure of its own.
    const checks = [...drainingCheck(stopping.aborted), ...made];
    const isReady = checks.every(({ status }) => status !== 'failed');
    reply.code(isReady ? 200 : 503).header('cache-control', 'no-store');
    const format = query.format ?? (acceptsJson(headers.accept) ? 'json' : 'text');
    if (format === 'json')
      return { status: isReady ? ('ready' as const) : ('unready' as const), checks };
    reply.type('text/plain; charset=utf-8');
    return checks.map(lineOf).join('');
  });

  const render = metrics && onceEvery(METRICS_INTERVAL_MS, () => metrics.render());
  app.get('/metrics', { schema: metricsSchema }, async (_request, reply) => {
    if (metrics === undefined || render === undefined) {
      throw refusal('metrics_not_found', 'metrics are not collected here');
    }
    reply.header('cache-control', 'no-store').type(metrics.contentType);
    return await render();
  });
};

function drainingCheck(draining: boolean): HealthCheck[] {
  return draining
    ? [{ name: 'process', status: 'failed', detail: 'is ending and takes no new work' }]
    : [];
}

/** A check that cannot even be made has failed. */
async function checksOf(health: Pick<Health, 'checks'>): Promise<HealthCheck[]> {
  try {
    return await health.checks();
  } catch (error) {
    return [{ name: 'checks', status: 'failed', detail: messageOf(error) }];
  }
}

/** Where a client would as well take text, it gets JSON only if it names it. */
function acceptsJson(accept: string | undefined): boolean {
  const named = qualityOf('application/json', accept);
  return named > 0 && named >= qualityOf('text/plain', accept);
}

/** How much a client wants a media type that it names, 0 to 1. Source: RFC 9110, section 12.4.2. */
function qualityOf(type: string, accept = ''): number {
  for (const range of accept.toLowerCase().split(',')) {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim());
    if (name !== type) continue;
    const weight = parameters.find((one) => one.startsWith('q='))?.slice(2);
    return weight === undefined ? 1 : Number.parseFloat(weight) || 0;
  }
  return 0;
}

function lineOf({ name, status, detail }: HealthCheck): string {
  return `${status} ${name}: ${detail.replaceAll(/\s+/g, ' ')}\n`;
}

/**
 * Makes a value at most once in an interval, however many ask for it: those that come meanwhile share
 * what is being made, or was made last. A failure is shared only while it is in the making.
 */
function onceEvery<Value>(intervalMs: number, make: () => Promise<Value>): () => Promise<Value> {
  let last: { value: Promise<Value>; until: number } | null = null;
  return () => {
    if (last !== null && performance.now() < last.until) return last.value;
    const made = { value: make(), until: Infinity };
    last = made;
    made.value.then(
      () => (made.until = performance.now() + intervalMs),
      () => (made.until = -Infinity),
    );
    return made.value;
  };
}
