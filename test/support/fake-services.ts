import type { Alerting } from '../../src/alert/alerting.ts';
import { AlertService, RuleService } from '../../src/http/alerts.ts';
import { AuditService } from '../../src/http/audit.ts';
import { SilenceService } from '../../src/http/silences.ts';
import { SourceService } from '../../src/http/sources.ts';
import { StopService } from '../../src/http/stop.ts';
import type { Source } from '../../src/source/source.ts';
import { testDaemon } from './daemon.ts';
import { fakeAlerting } from './fake-alerts.ts';
import { configSchema } from '../../src/config/schema.ts';
import type { WatchRequest } from '../../src/core/watch/register.ts';
import { NO_POLLS } from '../../src/core/watch/poll-history.ts';
import { timelineOf } from '../../src/core/watch/timeline.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import type { Attempt, Delivery } from '../../src/core/delivery/delivery.ts';
import {
  isoTime,
  type LoggedEvent,
  type LogReset,
  type RunwatchEvent,
} from '../../src/core/event/event.ts';
import type { WorkflowPolling } from '../../src/core/cadence/workflow-polling.ts';
import { ATTENTION_KINDS, type AttentionItem } from '../../src/core/attention.ts';
import type { HealthCheck } from '../../src/core/health-check.ts';
import { BatchService } from '../../src/http/batches.ts';
import { AttentionService, type Attention } from '../../src/http/attention.ts';
import type { AttentionQuery } from '../../src/http/attention/found.ts';
import type { RedeliverRange } from '../../src/deliver/replay.ts';
import type { DeliveryQuery } from '../../src/http/deliveries.ts';
import { unknownEndpointText, type EndpointView } from '../../src/http/endpoints.ts';
import { Repeats } from '../../src/http/idempotency.ts';
import { LookupService } from '../../src/http/lookup.ts';
import { presentAttempt } from '../../src/http/present.ts';
import { invalid, refusal } from '../../src/http/problem.ts';
import { ProcessService } from '../../src/http/system.ts';
import type { Services } from '../../src/http/services.ts';
import type { EndedSessionStore } from '../../src/redis/stores/session-store.ts';
import type { WatchQuery, WatchView } from '../../src/http/watches.ts';
import { PollingService, WorkflowService, type PollingQuery } from '../../src/http/workflows.ts';
import type { LookupStore } from '../../src/redis/stores/lookup-store.ts';
import type { WorkflowFigures } from '../../src/redis/stores/run-figures-store.ts';

/** What routes call of the services: no fake has the private members of a class. */
export type Served = {
  [Name in keyof Services]: { [Member in keyof Services[Name]]: Services[Name][Member] };
};

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
    rotations: { overlap?: number; now?: boolean }[];
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
  endpointTest: { delivered: boolean; attempt: Attempt };
  /** The error of testing an endpoint, or of rotating its secret, if any. */
  endpointFailure: Error | null;
  storedDeliveries: Delivery[];
  /** What the slices of alerts, silences and rules ask. */
  alerting: ReturnType<typeof fakeAlerting>;
  polledSources: Source[];
  attentionItems: AttentionItem[];
  polledWorkflows: WorkflowPolling[];
  workflowFigures: WorkflowFigures[];
  lookupStore: Pick<LookupStore, 'find'>;
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
    batches: [],
    sequence: 0,
    attempt: null,
    restartedAt: null,
    pastEnds: [],
    isReopened: false,
    held: [],
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
    foundWaiting: false,
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
    oldest_pending_at: isoTime(NOW),
    health: {
      state: 'active',
      reason: null,
      failing_since: null,
      next_probe_at: null,
      throttled_until: null,
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
  const alerting = fakeAlerting();
  const asked = alerting as unknown as Alerting;
  const polledSources: Source[] = [];
  const lookupStore: FakeServices['lookupStore'] = {
    find: async () => ({ found: [], more: false, sources: [] }),
  };
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
    lookupStore,
    alerting,
    polledSources,
    attentionItems: [],
    append(event) {
      fake.log.push({ cursor: `c${fake.log.length + 1}`, event });
      for (const wake of waiting) wake();
    },
    batches: fakeBatches(),
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
      async refuseUnknownSource(source) {
        if (source !== 'slip') return;
        throw invalid('query.source', 'no source is named "slip"; expected one of: default, eu');
      },
      someWorkflows: async () => ['wf-1', 'wf-2'],
      async unwatch({ runId }, receiver) {
        if (receiver !== undefined && receiver !== 'ops') return 'not_subscribed';
        return fake.store.delete(runId) ? 'done' : 'not_found';
      },
      async timeline({ runId }) {
        const watch = fake.store.get(runId);
        if (watch === undefined) return null;
        return { ...timelineOf({ watch, events: [], deliveries: [], isCut: false }), alerts: [] };
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
      follow: async (query, signal) => follow(fake, waiting, query, signal),
    },
    deliveries: {
      now: () => NOW,
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
      subjectsOf: async (deliveries) =>
        deliveries.map(() => ({ workflow_name: 'Invoices', alert_rule: null, batch: null })),
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
    audit: new AuditService(
      testDaemon({ stores: { audit: { list: async () => ({ items: [], nextCursor: null }) } } }),
    ),
    stops: new StopService(testDaemon(), {
      get: async ({ runId }) => fake.store.get(runId) ?? null,
    }),
    alerts: new AlertService(asked),
    silences: new SilenceService(asked),
    rules: new RuleService(asked),
    endpoints: fakeEndpoints(() => fake),
    webhooks: {
      list: async () => ({ data: [], more: false }),
      end: async () => ({ count: 0 }),
    },
    repeats: new Repeats(fakeAnswers(), createSealer([Buffer.alloc(32)])),
    endedSessions: fakeEndedSessions(),
    ...fakeListings(lookupStore, () => fake),
    processes: new ProcessService(
      testDaemon({
        processes: {
          async list() {
            const times = { startedAt: 0, heartbeatAt: 1_000 };
            return [{ id: 'p1', name: 'web-1:7', version: '1.0.0', ...times, skewMs: 12 }];
          },
        },
      }),
    ),
    storage: {
      async describe() {
        const server = { version: '7.2.0', policy: 'noeviction', persistence: 'none' as const };
        return { server, memory: null };
      },
    },
    sources: new SourceService(
      testDaemon({
        poller: { sources: polledSources },
        stores: { budgets: { used: async () => 4 } },
      }),
    ),
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

/** The batches of an empty store. */
function fakeBatches(): BatchService {
  const batches = {
    read: async () => null,
    readAll: async () => [],
    named: async (names: readonly unknown[]) => names.map(() => null),
    list: async () => ({ items: [], nextCursor: null }),
    find: async () => ({ byStatus: {}, failed: [], idleSince: null }),
    hasRoom: async () => true,
    begin: async () => true,
  };
  return new BatchService(testDaemon({ now: () => NOW, stores: { batches } }));
}

/** Idempotency answers in memory, which never expire. */
function fakeAnswers(records = new Map<string, string>()) {
  return {
    async begin(id: string, record: string) {
      const held = records.get(id) ?? null;
      if (held === null) records.set(id, record);
      return held;
    },
    async keep(id: string, _begun: string, record: string) {
      records.set(id, record);
      return true;
    },
    release: async (id: string) => void records.delete(id),
  };
}

/** Listings over stores in memory. The source `slip` is not known. */
function fakeListings(
  lookup: FakeServices['lookupStore'],
  of: () => FakeServices,
): Pick<Served, 'attention' | 'lookup' | 'polling' | 'workflows'> {
  const daemon = testDaemon({
    now: () => NOW,
    config: configSchema.parse({
      data_dir: '/nowhere',
      sources: { default: { api_key: 'a key' }, eu: { api_key: 'a key' } },
    }),
    stores: {
      lookup,
      runFigures: {
        since: async (since: number) => ({ since, workflows: of().workflowFigures }),
      },
      watches: {
        list: async () => ({ items: [], nextCursor: null, total: 0, isCapped: false }),
      },
    },
  });
  const attention = Object.assign(new AttentionService(daemon), {
    async find(query: AttentionQuery): Promise<Attention> {
      const { attentionItems: items, calls } = of();
      calls.attentionQueries.push(query);
      const counts = Object.fromEntries(ATTENTION_KINDS.map((kind) => [kind, 0]));
      for (const { kind } of items) counts[kind] = (counts[kind] ?? 0) + 1;
      return { items, counts: counts as Attention['counts'], isCapped: false };
    },
  });
  const polling = Object.assign(new PollingService(daemon), {
    async find(query: PollingQuery) {
      of().calls.pollingQueries.push(query);
      refuseBadCursor(query.cursor);
      const { workflowId } = query;
      const items = of().polledWorkflows.filter(
        (one) => (workflowId ?? one.workflowId) === one.workflowId,
      );
      return { items, nextCursor: null };
    },
  });
  const workflows = new WorkflowService(daemon);
  return { attention, lookup: new LookupService(daemon), polling, workflows };
}

/** Pausing and similar calls change only the listed state. */
function fakeEndpoints(of: () => FakeServices): Served['endpoints'] {
  const find = (name: string) => {
    const { endpointViews, endpointFailure } = of();
    const view = endpointViews.find((one) => one.name === name);
    if (view === undefined) {
      throw refusal('endpoint_not_found', unknownEndpointText(name, endpointViews));
    }
    if (endpointFailure !== null) throw endpointFailure;
    return view;
  };
  const change =
    (state: EndpointView['health']['state']) =>
    async ({ params }: { params: { name: string } }) => {
      const view = find(params.name);
      view.health = { ...view.health, state };
      return view;
    };
  return {
    list: async () => ({ data: of().endpointViews }),
    async test({ params }) {
      find(params.name);
      const { delivered, attempt } = of().endpointTest;
      return { delivered, attempt: presentAttempt(attempt) };
    },
    pause: change('paused'),
    resume: change('active'),
    async retry({ params }) {
      find(params.name);
      return { count: 3 };
    },
    async secret({ params }) {
      find(params.name);
      return { secret: SECRET };
    },
    async rotate({ params, body }) {
      find(params.name);
      of().calls.rotations.push(body);
      return { secret: SECRET, previous_expires_at: null };
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
  query: Parameters<Services['events']['follow']>[0],
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
