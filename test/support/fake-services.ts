import { fakeAlertServices } from './fake-alerts.ts';
import type { WatchRequest } from '../../src/core/watch/register.ts';
import { NO_POLLS } from '../../src/core/watch/poll-history.ts';
import { timelineOf } from '../../src/core/watch/timeline.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import type { Attempt, Delivery } from '../../src/core/delivery/delivery.ts';
import type {
  EventFilter,
  LoggedEvent,
  LogReset,
  RunwatchEvent,
} from '../../src/core/event/event.ts';
import type { WorkflowPolling } from '../../src/core/cadence/workflow-polling.ts';
import { ATTENTION_KINDS, type AttentionItem } from '../../src/core/attention.ts';
import type { HealthCheck } from '../../src/core/health-check.ts';
import type { Attention, AttentionQuery } from '../../src/http/attention.ts';
import type { DeliveryQuery, RedeliverRange } from '../../src/http/deliveries.ts';
import type { EndpointHealth, EndpointTest, EndpointView } from '../../src/http/endpoints.ts';
import { Repeats } from '../../src/http/idempotency.ts';
import type { Services } from '../../src/http/services.ts';
import type { EndedSessionStore } from '../../src/redis/stores/session-store.ts';
import type { SourceView } from '../../src/http/sources.ts';
import type { WatchQuery, WatchView } from '../../src/http/watches.ts';
import type { PollingQuery, WorkflowView } from '../../src/http/workflows.ts';

/** What routes call of the services: no fake has the private members of a class. */
export type Served = {
  [Name in Exclude<keyof Services, 'processes'>]: {
    [Member in keyof Services[Name]]: Services[Name][Member];
  };
} & { processes: Pick<Services['processes'], 'list'> };

/** The fake services as a test sees them: recorded calls, and answers to give. */
export interface FakeServices extends Served {
  endedSessions: Pick<EndedSessionStore, 'add' | 'has'>;
  calls: {
    registered: WatchRequest[];
    purged: string[];
    watchQueries: WatchQuery[];
    attentionQueries: AttentionQuery[];
    deliveryQueries: DeliveryQuery[];
    redelivered: { id: string; to: string | undefined }[];
    redeliverRanges: RedeliverRange[];
    rotations: { overlapMs: number; now: boolean }[];
    pollingQueries: PollingQuery[];
  };
  /** Watches by run id. */
  store: Map<string, WatchView>;
  log: LoggedEvent[];
  checks: HealthCheck[];
  append(event: RunwatchEvent): void;
  /** Event streams with a reader. */
  followers: number;
  endpointViews: EndpointView[];
  /** The result of a test of an endpoint. */
  endpointTest: EndpointTest;
  /** The error of testing an endpoint, or of rotating its secret, if any. */
  endpointFailure: Error | null;
  storedDeliveries: Delivery[];
  sourceViews: SourceView[];
  attentionItems: AttentionItem[];
  polledWorkflows: WorkflowPolling[];
  workflowFigures: WorkflowView[];
}

/** The secret that every rotation returns. */
export const SECRET = 'whsec_bm90LWEtc2VjcmV0LWJ1dC1sb25nLWVub3VnaA==';

const NOW = Date.parse('2025-05-04T10:00:00.000Z');

export function aWatch(changes: Partial<WatchView> = {}): WatchView {
  return {
    source: 'default',
    runId: 'run-1',
    registeredBy: [],
    state: 'active',
    run: null,
    metadata: {},
    subscriptions: [],
    sequence: 0,
    pastEnds: [],
    polls: 0,
    pollHistory: NO_POLLS,
    profile: 'normal',
    maxDelayMs: null,
    registeredAt: NOW,
    lastPolledAt: null,
    nextPollAt: NOW,
    timeoutAt: NOW + 60_000,
    endedAt: null,
    trouble: null,
    unreachable: false,
    missing: null,
    gone: null,
    formerWebhooks: [],
    unknownStatuses: [],
    unknownAt: [],
    notice: null,
    waiting: null,
    waits: null,
    doubt: null,
    dwell: null,
    phases: [],
    changedAt: NOW,
    acknowledged: null,
    workflowName: null,
    runUrl: null,
    runAskedAt: null,
    cadence: { intervalMs: 1_000, failures: 0 },
    ...changes,
  };
}

export function anEvent(sequence: number, changes: Partial<RunwatchEvent> = {}): RunwatchEvent {
  const at = new Date(NOW).toISOString();
  return {
    id: `evt_${sequence}`,
    type: 'run.completed',
    timestamp: at,
    data: {
      run_id: 'run-1',
      run: null,
      previous: null,
      nodes: null,
      sequence,
      detected_at: at,
      detection_delay_ms: null,
      workflow_name: null,
      run_url: null,
      watch_url: null,
      watch: { source: 'default', metadata: {}, registered_at: at },
    },
    ...changes,
  };
}

export function aDelivery(changes: Partial<Delivery> = {}): Delivery {
  return {
    id: 'dlv_1',
    eventId: 'evt_1',
    eventType: 'run.completed',
    source: 'default',
    runId: 'run-1',
    endpoint: 'ops',
    state: 'delivered',
    attemptCount: 1,
    step: 1,
    requested: false,
    urgent: false,
    nextAttemptAt: null,
    createdAt: NOW,
    deliveredAt: NOW,
    last: anAttempt(),
    ...changes,
  };
}

export function anAttempt(changes: Partial<Attempt> = {}): Attempt {
  return {
    at: NOW,
    status: 200,
    error: null,
    durationMs: 12,
    response: 'thanks',
    phases: [null, 11, 1],
    ...changes,
  };
}

export function anEndpoint(changes: Partial<EndpointView> = {}): EndpointView {
  return {
    name: 'ops',
    type: 'webhook',
    url: 'https://example.com/hooks',
    events: ['run.failed'],
    default: true,
    counts: { pending: 1, delivered: 2, dead: 0, parked: 0, skipped: 0, superseded: 0 },
    oldestPendingAt: NOW,
    health: {
      state: 'active',
      reason: null,
      failingSince: null,
      nextProbeAt: null,
      throttledUntil: null,
    },
    ...changes,
  };
}

export function aWorkflow(changes: Partial<WorkflowPolling> = {}): WorkflowPolling {
  return {
    source: 'default',
    workflowId: 'wf-1',
    runs: 120,
    states: 12,
    duration: { median: 61.2, p90: 90.4 },
    measured: { requests: 7.456, delayS: 0.8123 },
    expected: { requests: 8.5, delayS: 1.2 },
    ...changes,
  };
}

/** Services in memory, as small as the HTTP API needs them. They refuse a run id of `nope…`. */
export function fakeServices(): FakeServices {
  const waiting = new Set<() => void>();
  const fake: FakeServices = {
    calls: {
      registered: [],
      purged: [],
      watchQueries: [],
      attentionQueries: [],
      deliveryQueries: [],
      redelivered: [],
      redeliverRanges: [],
      rotations: [],
      pollingQueries: [],
    },
    store: new Map(),
    log: [],
    checks: [{ name: 'redis', status: 'ok', detail: 'answers' }],
    followers: 0,
    endpointViews: [],
    endpointTest: { delivered: true, attempt: anAttempt() },
    endpointFailure: null,
    storedDeliveries: [],
    polledWorkflows: [],
    workflowFigures: [],
    sourceViews: [],
    attentionItems: [],
    append(event) {
      fake.log.push({ cursor: `c${fake.log.length + 1}`, event });
      for (const wake of waiting) wake();
    },
    watches: {
      async register(requests, { mostWatches }) {
        fake.calls.registered.push(...requests);
        return requests.map((request) => registerOne(fake, request, mostWatches));
      },
      async get({ runId }) {
        return fake.store.get(runId) ?? null;
      },
      async list(query) {
        fake.calls.watchQueries.push(query);
        refuseBadCursor(query.cursor);
        const items = [...fake.store.values()];
        return { items, nextCursor: null, total: items.length, isCapped: false };
      },
      hasStatus: async (status) => status === 'hibernating',
      hasWorkflow: async (workflowId) => workflowId !== 'slip',
      hasSource: async (source) => source !== 'slip',
      sources: ['default', 'eu'],
      someWorkflows: async () => ['wf-1', 'wf-2'],
      async unwatch({ runId }, receiver) {
        if (receiver !== undefined && receiver !== 'ops') return 'not_subscribed';
        return fake.store.delete(runId) ? 'done' : 'not_found';
      },
      async timeline({ runId }) {
        const watch = fake.store.get(runId);
        if (watch === undefined) return null;
        return timelineOf({ watch, events: [], deliveries: [], isCut: false });
      },
      async acknowledge({ runId }, { by, comment = null, until }) {
        const watch = fake.store.get(runId);
        if (watch === undefined) return 'not_found';
        const untilMs = until && ('at' in until ? until.at : NOW + until.inMs);
        if (untilMs !== undefined && untilMs < NOW) return 'past';
        const acknowledged = { by, comment, at: NOW, until: untilMs ?? null };
        fake.store.set(runId, { ...watch, acknowledged });
        return { ...watch, acknowledged };
      },
      async withdraw({ runId }) {
        const watch = fake.store.get(runId);
        if (watch !== undefined) fake.store.set(runId, { ...watch, acknowledged: null });
        return watch !== undefined;
      },
      async purge({ runId }) {
        fake.calls.purged.push(runId);
        return fake.store.delete(runId);
      },
      async pollNow({ runId }) {
        const watch = fake.store.get(runId);
        if (watch === undefined) return 'not_found';
        return watch.state === 'active' ? { closed: null } : 'not_active';
      },
    },
    events: {
      async list({ after, limit }) {
        refuseBadCursor(after);
        const items = fake.log.slice(startOf(after), startOf(after) + limit);
        return { items, nextCursor: items.at(-1)?.cursor ?? null };
      },
      position: () => Promise.resolve(`c${fake.log.length}`),
      follow: (query, signal) => follow(fake, waiting, query, signal),
    },
    deliveries: {
      async list(query) {
        fake.calls.deliveryQueries.push(query);
        refuseBadCursor(query.cursor);
        const items = fake.storedDeliveries;
        return { items, nextCursor: null, total: items.length, isCapped: false };
      },
      async get(id) {
        const delivery = fake.storedDeliveries.find((one) => one.id === id);
        if (delivery === undefined) return null;
        return { delivery, attempts: delivery.last === null ? [] : [delivery.last] };
      },
      headersOf:
        async ({ eventId }) =>
        () => ({ 'webhook-id': eventId }),
      async redeliver(id, to) {
        const delivery = fake.storedDeliveries.find((one) => one.id === id);
        if (delivery === undefined) return null;
        fake.calls.redelivered.push({ id, to });
        delivery.state = 'pending';
        return id;
      },
      async redeliverMany(range) {
        fake.calls.redeliverRanges.push(range);
        return fake.storedDeliveries.length;
      },
    },
    ...fakeAlertServices(),
    endpoints: fakeEndpoints(() => fake),
    webhooks: { list: async () => ({ webhooks: [], more: false }), end: async () => 0 },
    repeats: new Repeats(fakeAnswers(), createSealer([Buffer.alloc(32)])),
    endedSessions: fakeEndedSessions(),
    processes: {
      async list() {
        const times = { startedAt: 0, heartbeatAt: 1_000 };
        return [{ id: 'p1', name: 'web-1:7', version: '1.0.0', ...times, skewMs: 12 }];
      },
    },
    attention: {
      async list(query) {
        fake.calls.attentionQueries.push(query);
        const counts = Object.fromEntries(ATTENTION_KINDS.map((kind) => [kind, 0]));
        for (const { kind } of fake.attentionItems) counts[kind] = (counts[kind] ?? 0) + 1;
        const items = fake.attentionItems;
        return { items, counts: counts as Attention['counts'], isCapped: false };
      },
    },
    storage: {
      async describe() {
        const server = { version: '7.2.0', policy: 'noeviction', persistence: 'none' as const };
        return { server, memory: null };
      },
    },
    lookup: {
      async find() {
        return { found: [], more: false };
      },
    },
    workflows: {
      list: async () => ({ since: NOW - 3_600_000, workflows: fake.workflowFigures }),
    },
    polling: {
      profile: 'normal',
      async list(query) {
        fake.calls.pollingQueries.push(query);
        refuseBadCursor(query.cursor);
        const { workflowId } = query;
        const items = fake.polledWorkflows.filter(
          (one) => (workflowId ?? one.workflowId) === one.workflowId,
        );
        return { items, nextCursor: null };
      },
    },
    sources: {
      list: async () => fake.sourceViews,
      async resume(name) {
        const view = fake.sourceViews.find((one) => one.name === name);
        if (view !== undefined) view.closed = null;
        return view ?? null;
      },
    },
    health: {
      async checks() {
        return fake.checks;
      },
    },
  };
  return fake;
}

/** As the server takes them. */
export function servicesOf(served: Served): Services {
  return served as Services;
}

/** Idempotency answers in memory, which never expire. */
function fakeAnswers(records = new Map<string, string>()) {
  return {
    async begin(id: string, record: string) {
      const held = records.get(id) ?? null;
      if (held === null) records.set(id, record);
      return held;
    },
    keep: async (id: string, _begun: string, record: string) => void records.set(id, record),
    release: async (id: string) => void records.delete(id),
  };
}

/** Pausing and similar calls change only the listed state. */
function fakeEndpoints(of: () => FakeServices): Served['endpoints'] {
  const find = (name: string) => of().endpointViews.find((view) => view.name === name);
  const change = (state: EndpointHealth['state']) => async (name: string) => {
    const view = find(name);
    if (view !== undefined) view.health = { ...view.health, state };
    return view ?? null;
  };
  return {
    list: async () => of().endpointViews,
    async test(name) {
      const { endpointTest, endpointFailure } = of();
      if (find(name) === undefined) return null;
      if (endpointFailure !== null) throw endpointFailure;
      return endpointTest;
    },
    pause: change('paused'),
    resume: change('active'),
    retry: async (name) => (find(name) === undefined ? null : 3),
    async secret(name) {
      const { endpointFailure } = of();
      if (find(name) === undefined) return null;
      if (endpointFailure !== null) throw endpointFailure;
      return SECRET;
    },
    async rotate(name, options) {
      const { calls, endpointFailure } = of();
      if (find(name) === undefined) return null;
      if (endpointFailure !== null) throw endpointFailure;
      calls.rotations.push(options);
      const { overlapMs, now } = options;
      return { secret: SECRET, previousExpiresAt: now || overlapMs === 0 ? null : NOW + overlapMs };
    },
  };
}

function registerOne(fake: FakeServices, request: WatchRequest, mostWatches: number | null) {
  if (request.runId.startsWith('nope')) {
    return { kind: 'invalid' as const, issues: [{ path: 'source', message: 'no such source' }] };
  }
  const existing = fake.store.get(request.runId);
  if (existing === undefined && fake.store.size >= (mostWatches ?? Infinity)) {
    return { kind: 'too_many_watches' as const };
  }
  const watch = aWatch({ runId: request.runId, metadata: request.metadata ?? {} });
  fake.store.set(request.runId, watch);
  const kind = existing === undefined ? ('created' as const) : ('merged' as const);
  const { webhook } = request;
  const isDerived = webhook !== undefined && webhook.secret === undefined;
  return { kind, watch, webhookSecret: isDerived ? SECRET : null };
}

/** A cursor from a store that has lost data since. */
export const STALE = 'stale';

function refuseBadCursor(cursor: string | undefined): void {
  if (cursor === undefined || /^c\d+$/.test(cursor)) return;
  if (cursor === STALE) throw new RunwatchError('start anew', { code: 'stale_cursor' });
  throw new RunwatchError('this is not a cursor of this server', { code: 'invalid_cursor' });
}

function startOf(after: string | undefined): number {
  return after === undefined ? 0 : Number(after.slice(1));
}

async function* follow(
  fake: FakeServices,
  waiting: Set<() => void>,
  query: EventFilter & { after: string },
  signal: AbortSignal,
): AsyncIterable<LoggedEvent | LogReset> {
  let next = query.after === STALE ? fake.log.length : startOf(query.after);
  if (query.after === STALE) yield { cursor: `c${next}`, event: null };
  fake.followers += 1;
  try {
    while (!signal.aborted) {
      const logged = fake.log[next];
      if (logged === undefined) {
        await arrival(waiting, signal);
        continue;
      }
      next += 1;
      const { type, data } = logged.event;
      const isWanted =
        (query.type ?? [type]).includes(type) && (query.runId ?? data.run_id) === data.run_id;
      if (isWanted) yield logged;
    }
  } finally {
    fake.followers -= 1;
  }
}

function arrival(waiting: Set<() => void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      waiting.delete(wake);
      signal.removeEventListener('abort', wake);
      resolve();
    };
    waiting.add(wake);
    signal.addEventListener('abort', wake);
  });
}

function fakeEndedSessions(): FakeServices['endedSessions'] {
  const ended = new Set<string>();
  return {
    async add({ owner, id }) {
      ended.add(`${owner} ${id}`);
    },
    has: async ({ owner, id }) => ended.has(`${owner} ${id}`),
  };
}
