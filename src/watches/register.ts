import { registerDefaults } from '../config/schema.ts';
import { groupBy } from '../core/arrays.ts';
import { batchOf } from '../core/batch.ts';
import { firstKind } from '../core/source/request-order.ts';
import { planNotice, type Delivery } from '../core/delivery/delivery.ts';
import { webhookReceiver } from '../core/delivery/receiver.ts';
import type { InputIssue } from '../core/errors.ts';
import {
  hasTooManyWebhooks,
  register,
  type Registered,
  type RegisterResult,
  type Registration,
  type WatchRequest,
} from '../core/watch/register.ts';
import {
  watchId,
  type SealedParts,
  type Subscription,
  type Watch,
  type WatchKey,
} from '../core/watch/watch.ts';
import type {
  BatchJoin,
  ScheduleChange,
  StoredWatch,
  WatchChange,
  WatchQuota,
} from '../redis/watch-change.ts';
import type { Process } from '../process.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { Source } from '../source/source.ts';
import { Joining, withJoined } from './joining.ts';
import { idProblemOf, runKeysOf, type KnownSources } from './run-keys.ts';

/** Polls due within this time wake a process at once, ms; its survey would find them later. */
const SOON_MS = 5_000;

/** The sources by their names; undefined for one that is not configured any more. */
interface Sources {
  process: Process;
  sourceOf(name: string): Source | undefined;
}

/**
 * The use case behind registration. New watches enter the schedule, existing ones get the new
 * subscriptions, and a late subscription to an ended run is notified at once. Where that run may have another
 * attempt by now, its watch enters the schedule, and the subscription is notified once a poll has found none. All requests for one
 * watch are written in one atomic step, and again if another writer came first.
 * @param quota how many active watches the token of the requests may have registered; null for any number
 * @returns one result per registration, in order
 */
export async function registerWatches(
  sources: Sources,
  requests: Registration[],
  quota: WatchQuota | null = null,
): Promise<RegisterResult[]> {
  const { process } = sources;
  const { watches } = process.stores;
  const results: RegisterResult[] = requests.map(() => TOO_MANY_WEBHOOKS);
  let asked = groupByWatch(requests);
  const joining = new Joining(process, requests);
  for (;;) {
    const keys = asked.map(({ key }) => key);
    const [read] = await Promise.all([watches.getMany(keys), joining.read()]);
    joining.keepCompleted(
      asked.map((group, index) => ({ ...group, watch: read[index]?.watch ?? null })),
    );
    const groups = asked.map((group, index) => {
      const before = read[index] ?? null;
      const { admitted, refused } = joining.admit(group.requests, before?.watch ?? null);
      for (const { at, why } of refused) results[at] = { kind: why };
      return { group: { ...group, requests: admitted }, before };
    });
    const admitted = groups.filter(({ group }) => group.requests.length > 0);
    const open = admitted.map(({ group }) => group);
    if (open.length === 0) return results;
    const round = admitted.map(({ group, before }) => attempt(sources, group, before, joining));
    const changes = round.map(({ change }) => change);
    const committed = await commit(watches, changes, { quota, closing: joining.closing() });
    const settled = round.filter((_, index) => Array.isArray(committed[index]));
    await notify(
      sources,
      settled.map(({ outcome }) => outcome),
      committed.flatMap((pools) => (Array.isArray(pools) ? pools : [])),
    );
    for (const { at, result } of settled.flatMap(({ registered }) => registered)) {
      results[at] = result;
    }
    const refused = open.filter((_, index) => committed[index] === 'beyond_quota');
    for (const { at } of refused.flatMap((group) => group.requests)) {
      results[at] = TOO_MANY_WATCHES;
    }
    asked = open.filter((_, index) => committed[index] === null);
    if (asked.length === 0) return results;
  }
}

const TOO_MANY_WEBHOOKS: RegisterResult = { kind: 'too_many_webhooks' };
const TOO_MANY_WATCHES: RegisterResult = { kind: 'too_many_watches' };

type Committed = string[] | null | 'beyond_quota';

/**
 * Writes changes. Of those that join a batch that is to be closed, the last one comes once all others are written,
 * and closes it in the same step.
 */
async function commit(
  watches: Pick<WatchStore, 'commitMany' | 'commitWithin'>,
  given: readonly WatchChange[],
  { quota, closing }: { quota: WatchQuota | null; closing: ReadonlySet<string> },
): Promise<Committed[]> {
  const changes = withClosing(given, closing);
  const results: Committed[] = changes.map(() => null);
  const write = async (places: readonly number[]): Promise<boolean> => {
    const some = places.flatMap((at) => changes[at] ?? []);
    const written: Committed[] = await (quota === null
      ? watches.commitMany(some)
      : watches.commitWithin(some, quota));
    for (const [index, at] of places.entries()) results[at] = written[index] ?? null;
    return written.every((one) => one !== null);
  };
  const closers = new Set(changes.flatMap(({ joins }, at) => (joins?.some(isClosing) ? at : [])));
  let isWhole = await write([...changes.keys()].filter((at) => !closers.has(at)));
  // What was not written comes again, and finds its batch open.
  for (const at of closers) if (isWhole) isWhole = await write([at]);
  return results;
}

/** The last change that joins a batch which is to be closed closes it. */
function withClosing(changes: readonly WatchChange[], closing: ReadonlySet<string>): WatchChange[] {
  const last = new Map<string, number>();
  for (const [at, { joins = [] }] of changes.entries()) {
    for (const { batch } of joins) if (closing.has(batch.id)) last.set(batch.id, at);
  }
  const closers = new Set(last.values());
  return changes.map((change, at) => {
    if (change.joins === undefined || !closers.has(at)) return change;
    const joins = change.joins.map((join) => ({
      ...join,
      closes: last.get(join.batch.id) === at,
    }));
    return { ...change, joins };
  });
}

function isClosing({ closes = false }: BatchJoin): boolean {
  return closes;
}

/** The requests for one watch, with their indexes among all. */
interface RequestGroup {
  key: WatchKey;
  requests: { request: Registration; at: number }[];
}

function groupByWatch(requests: readonly Registration[]): RequestGroup[] {
  const groups = new Map<string, RequestGroup>();
  for (const [at, request] of requests.entries()) {
    const id = watchId(request);
    const group = groups.get(id) ?? { key: request, requests: [] };
    group.requests.push({ request, at });
    groups.set(id, group);
  }
  return [...groups.values()];
}

function attempt(
  sources: Sources,
  group: RequestGroup,
  before: StoredWatch | null,
  joining: Joining,
) {
  const { process } = sources;
  const now = process.now();
  const hasAttempts = sources.sourceOf(group.key.source)?.traits.attempts ?? false;
  const defaults = registerDefaults(process.config);
  const deliveries: Delivery[] = [];
  const steps: { request: Registration; at: number; step: Registered }[] = [];
  let watch = before?.watch ?? null;
  for (const { request, at } of group.requests) {
    const step = register(watch, request, { now, defaults, hasAttempts });
    if (hasTooManyWebhooks(step.watch)) continue;
    const context = { wants: process.endpoints.wants, now };
    const late = step.watch.isReopened ? [] : step.added;
    deliveries.push(...planNotice(step.watch, late, context));
    steps.push({ request, at, step });
    watch = step.watch;
  }
  // What is refused joins nothing.
  const joins = joining.joinsOf(steps, watch as Watch);
  const after = withJoined(watch as Watch, joins);
  const dueWithinMs = Math.min(...steps.map(({ step }) => step.dueWithinMs));
  const begins = steps.some(({ step }) => step.kind !== 'merged');
  const schedule = scheduleChange(after, { begins, dueWithinMs });
  const change = { before, after, events: [], deliveries, joins };
  return {
    registered: steps.map(({ at, step: { kind, added, dueWithinMs: within } }) => ({
      at,
      result: { kind, added, dueWithinMs: within, watch: after },
    })),
    outcome: { watch: after, dueWithinMs },
    change: schedule === null ? change : { ...change, schedule },
  };
}

function scheduleChange(
  watch: Watch,
  { begins, dueWithinMs }: { begins: boolean; dueWithinMs: number },
): ScheduleChange | null {
  if (dueWithinMs === Infinity) return null;
  if (!begins) return { does: 'expedite', withinMs: dueWithinMs };
  return { does: 'enter', withinMs: dueWithinMs, kind: firstKind(watch) };
}

/** If the process dies before this, the next survey and sweep find the same work. */
async function notify(
  sources: Sources,
  done: Pick<Registered, 'watch' | 'dueWithinMs'>[],
  pools: string[],
): Promise<void> {
  const due = done.filter(({ dueWithinMs }) => dueWithinMs <= SOON_MS).map(({ watch }) => watch);
  for (const [source, watches] of groupBy(due, (watch) => watch.source)) {
    await sources.sourceOf(source)?.schedule.entered(watches.length);
  }
  sources.process.dispatch(pools);
}

/** The names that a request may use, and the rules for its webhook. */
export interface RequestRules extends KnownSources {
  sources: readonly string[];
  endpoints: readonly string[];
  /** The endpoints of a request without any. */
  defaultEndpoints: readonly string[];
  /** Why a webhook may not go to a URL; null when it may. */
  forbids: (url: string) => string | null;
  /** Encrypts the secret parts of a webhook before they are stored. */
  seal: (plain: SealedParts, context: string) => string;
}

/** The run of a request, what is wrong with its source or id, or the sources of which several may be meant. */
type MeantRun = WatchKey | InputIssue | { sources: string[] };

/**
 * The run of a request. Without a source, the only one is meant that can have the id; of several, the one
 * that is called `default`.
 */
function meantRun(
  { source: named, runId }: WatchRequest,
  sources: readonly string[],
  known: KnownSources,
): MeantRun {
  if (named !== undefined && !sources.includes(named)) {
    const message = `no source is named "${named}"; expected one of: ${sources.join(', ')}`;
    return { path: 'source', message };
  }
  const asked = named === undefined ? sources : [named];
  const runs = runKeysOf(known, asked, runId);
  const [first] = runs;
  if (first === undefined) return { path: 'run_id', message: idProblemOf(known, asked, runId) };
  const usual = runs.find(({ source }) => source === 'default');
  if (runs.length === 1 || usual !== undefined) return usual ?? first;
  return { sources: runs.map(({ source }) => source) };
}

/** A registration, every problem with the names of its request, or the sources of which several may be meant. */
type ResolvedRequest =
  | { registration: Registration }
  | { issues: InputIssue[] }
  | { sources: string[] };

/**
 * Turns a request into a registration.
 * @param by the sources that it may name, absent for all, and the name of its token, null for none
 */
export function resolveRequest(
  request: WatchRequest,
  rules: RequestRules,
  { sources, token }: { sources?: readonly string[]; token: string | null },
): ResolvedRequest {
  const run = meantRun(request, sources ?? rules.sources, rules);
  const issues = [
    ...('path' in run ? [run] : []),
    ...endpointIssues(request.endpoints ?? [], rules.endpoints),
    ...webhookIssues(request.webhook, rules),
  ];
  if ('path' in run || issues.length > 0) return { issues };
  if ('sources' in run) return run;
  const { source, runId } = run;
  const { metadata, batch, closesBatch = false } = request;
  const registeredBy = token === null ? [] : [token];
  return {
    registration: {
      source,
      runId,
      registeredBy,
      subscriptions: subscriptionsOf(request, rules, { source, runId, registeredBy }),
      ...(metadata !== undefined && { metadata }),
      ...(batch !== undefined && { batch: batchOf(sources, batch), closesBatch }),
      ...pollingOf(request),
    },
  };
}

/** How a request wants its run polled. */
function pollingOf({ timeoutMs, profile, maxDelayMs }: WatchRequest) {
  return {
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(profile !== undefined && { profile }),
    ...(maxDelayMs !== undefined && { maxDelayMs }),
  };
}

function endpointIssues(named: readonly string[], known: readonly string[]): InputIssue[] {
  return named.flatMap((name, at) =>
    known.includes(name)
      ? []
      : [
          {
            path: `endpoints.${at}`,
            message: `no endpoint is named "${name}"; expected one of: ${known.join(', ')}`,
          },
        ],
  );
}

function webhookIssues(webhook: WatchRequest['webhook'], rules: RequestRules): InputIssue[] {
  if (webhook === undefined) return [];
  const forbidden = rules.forbids(webhook.url);
  return forbidden === null ? [] : [{ path: 'webhook.url', message: forbidden }];
}

function subscriptionsOf(
  { endpoints, webhook }: WatchRequest,
  rules: RequestRules,
  watch: RegisteredKey,
): Subscription[] {
  const named = endpoints ?? (webhook === undefined ? rules.defaultEndpoints : []);
  return [
    ...[...new Set(named)].map((endpoint) => ({ kind: 'endpoint' as const, endpoint })),
    ...(webhook === undefined ? [] : [webhookSubscription(webhook, rules.seal, watch)]),
  ];
}

type RegisteredKey = WatchKey & { registeredBy: string[] };

function webhookSubscription(
  { url, events, secret, headers }: NonNullable<WatchRequest['webhook']>,
  seal: RequestRules['seal'],
  { registeredBy, ...watch }: RegisteredKey,
): Subscription {
  const parts = {
    url,
    ...(secret !== undefined && { secret }),
    ...(headers !== undefined && { headers }),
  };
  return {
    kind: 'webhook',
    receiver: webhookReceiver(url, watch.source),
    ...(events !== undefined && { events }),
    ...(registeredBy.length > 0 && { registeredBy }),
    sealed: seal(parts, watchId(watch)),
  };
}
