import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { messageOf } from '../core/errors.ts';
import type { HealthCheck } from '../core/health-check.ts';
import type { Health } from './health.ts';
import { refusal } from './problem.ts';
import { problemAnswer } from './schemas/common.ts';
import { readinessSchema } from './schemas/system.ts';

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
  health: Health;
  metrics: Metrics | undefined;
  /** Aborts when the process begins to stop. */
  stopping: AbortSignal;
}

const readinessAnswer = (description: string) => ({
  description,
  content: {
    'text/plain': {
      schema: z.string().meta({ examples: ['ok redis: answers in 1 ms\n'] }),
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
    const checks = [...drainingCheck(stopping.aborted), ...(await checksOf(health))];
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
async function checksOf(health: Health): Promise<HealthCheck[]> {
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
