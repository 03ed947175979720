import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { TokenConfig } from '../config/schema.ts';
import { groupBy } from '../core/arrays.ts';
import { MOST_BATCHES_OF_WATCH, MOST_MEMBERS } from '../core/batch.ts';
import { RunwatchError, type InputIssue } from '../core/errors.ts';
import { shownReceiver } from '../core/delivery/receiver.ts';
import { isoTime } from '../core/event/event.ts';
import type { CountedPage } from '../core/page.ts';
import type { Complete } from '../core/records.ts';
import { KNOWN_STATUSES } from '../core/run/snapshot.ts';
import { workflowsWithEntry } from '../core/run/workflow-entry.ts';
import type { ClosedSource } from '../core/source/throttle.ts';
import { endOf, withMoments, type Until, type WhenRange } from '../core/time.ts';
import { BATCH_REFUSALS, type BatchRefusal, type WatchRequest } from '../core/watch/register.ts';
import { timelineOf, type Timeline } from '../core/watch/timeline.ts';
import { inForce } from '../core/watch/acknowledgement.ts';
import {
  MAX_WEBHOOKS,
  watchId,
  type Subscription,
  type Watch,
  type WatchFilter,
  type WatchKey,
} from '../core/watch/watch.ts';
import type { Daemon } from '../daemon.ts';
import { deriveWebhookSecret } from '../deliver/secrets/sign.ts';
import { skipOutstanding } from '../deliver/skip-outstanding.ts';
import { acknowledgeRun } from '../watches/acknowledge.ts';
import { endSubscription, endWatch } from '../watches/end.ts';
import { purgeWatch } from '../watches/purge.ts';
import type { Process } from '../process.ts';
import type { WatchQuota } from '../redis/watch-change.ts';
import { registerWatches, resolveRequest, type RequestRules } from '../watches/register.ts';
import { idProblemOf, runKeysOf } from '../watches/run-keys.ts';
import { auditOfRun, saidDetails, type Acting } from './audit.ts';
import { mayRead, requireScope, sourcesMeant, sourcesOf } from './auth.ts';
import type { BatchService } from './batches.ts';
import { MAX_ISSUES, parse } from './errors.ts';
import {
  patternsInForce,
  presentAcknowledgement,
  presentCountedPage,
  presentDelivery,
  presentResult,
  timeOrNull,
} from './present.ts';
import { invalid, InvalidRequest, refusal, summaryOf } from './problem.ts';
import type { Requests, Slice } from './routing.ts';
import { alertsOfRun } from './run-alerts.ts';
import type { Answer, Routes } from './schemas/routes.ts';
import type { timelineSchema } from './schemas/timeline.ts';
import { watchRequest, type watchOrReceipt, type watchSchema } from './schemas/watch.ts';
import { closedSource } from './sources.ts';

/** A watch with the name of its workflow and the address of its run; `presentWatch` picks what is shown. */
export interface WatchView extends Watch {
  workflowName: string | null;
  runUrl: string | null;
}

/** A timeline with the alerts that have the run, as the API shows them. */
interface RunTimeline extends Timeline {
  alerts: z.output<typeof timelineSchema>['alerts'];
}

export type WatchResult =
  | {
      kind: 'created' | 'merged';
      watch: WatchView;
      /** What signs for the webhook of the request, where that came without a secret; else null. */
      webhookSecret: string | null;
    }
  /** The token of the request has registered as many active watches as it may. */
  | { kind: 'too_many_watches' }
  /** The run may not join the batch. */
  | { kind: BatchRefusal; batch: string }
  /** The request names no source, and several can have its run. */
  | { kind: 'several_sources'; sources: string[] }
  /** The request names something that does not exist or may not be; nothing was changed by it. */
  | { kind: 'invalid'; issues: InputIssue[] };

/** The times are those of a watch's last change. */
export interface WatchQuery extends WatchFilter, WhenRange {
  order?: 'registered' | 'changed' | undefined;
  limit: number;
  cursor?: string | undefined;
}

export interface AcknowledgeInput {
  by: string;
  comment?: string;
  /** When it expires: a time, or so long from now. */
  until?: Until;
}

/** The token that registers watches. */
export interface Registrant {
  /** Its name; null where none was needed. */
  token: string | null;
  /** The sources that its requests may name; absent, all. */
  sources?: readonly string[];
  /** The most active watches that it may have registered; null for any number. */
  mostWatches: number | null;
}

/** A watch by its run. Of several sources, the one that has it is meant. */
export interface WatchName {
  /** The sources that may be meant; absent, all that are configured. */
  sources?: readonly string[];
  runId: string;
}

/** Workflows that a refusal names. */
const MOST_WORKFLOWS = 20;

const TOO_MANY_WEBHOOKS = {
  path: 'webhook',
  message: `a watch has up to ${MAX_WEBHOOKS} webhooks; end one of them by DELETE with its URL as endpoint`,
};

/** What the API does with watches. By name, it throws RunwatchError `several_sources`. */
export class WatchService {
  constructor(private readonly daemon: Daemon) {}

  /** One result per request, in order; a bad one spoils no other. */
  async register(requests: WatchRequest[], by: Registrant): Promise<WatchResult[]> {
    const { dataDirectory, poller, watchNotes } = this.daemon;
    dataDirectory.refuseIfLost();
    const rules = requestRules(this.daemon);
    const resolved = requests.map((request) => resolveRequest(request, rules, by));
    const good = resolved.flatMap((one) => ('registration' in one ? [one.registration] : []));
    // Before anything is written: what fails here is answered by an error, and nothing has happened.
    const secrets = resolved.map((one, at) =>
      'registration' in one
        ? this.derivedSecret(requests[at]?.webhook, one.registration.source)
        : null,
    );
    const results = await registerWatches(poller, good, quotaOf(by));
    const taken = results.filter((result) => 'watch' in result);
    const watches = taken.map(({ watch }) => watch);
    watchNotes.registered(watches);
    const views = await this.viewsOf(watches);
    const registered = taken.map(({ kind }, at) => ({ kind, watch: views[at] })).values();
    const kinds = results.map(({ kind }) => kind).values();
    return resolved.map((one, at): WatchResult => {
      if ('issues' in one) return { kind: 'invalid', issues: one.issues };
      if ('sources' in one) return { kind: 'several_sources', sources: one.sources };
      const { value: outcome } = kinds.next();
      if (outcome === 'too_many_watches') return { kind: outcome };
      if (outcome === 'too_many_webhooks') return { kind: 'invalid', issues: [TOO_MANY_WEBHOOKS] };
      if (isBatchRefusal(outcome)) return { kind: outcome, batch: requests[at]?.batch ?? '' };
      return registeredAs(registered.next().value, secrets[at] ?? null);
    });
  }

  async get(named: WatchName): Promise<WatchView | null> {
    const watch = await this.find(named);
    return watch === null ? null : this.viewOf(watch);
  }

  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list({ limit, cursor, order, ...filter }: WatchQuery): Promise<CountedPage<WatchView>> {
    const { now, stores } = this.daemon;
    const paging = { limit, cursor, order };
    const { items, ...page } = await stores.watches.list(withMoments(filter, now()), paging);
    return { items: await this.viewsOf(items), ...page };
  }

  /** Whether any watch, or one of these sources, has a run of this status. */
  hasStatus(status: string, sources?: readonly string[]): Promise<boolean> {
    return sources === undefined
      ? this.daemon.stores.watches.hasStatus(status)
      : this.hasAny({ status: [status], sources });
  }

  /** Whether a workflow is configured, or any watch, or one of these sources, has a run of it. */
  async hasWorkflow(workflowId: string, sources?: readonly string[]): Promise<boolean> {
    const { config, stores } = this.daemon;
    if (workflowsWithEntry(config).includes(workflowId)) return true;
    return sources === undefined
      ? stores.watches.hasWorkflow(workflowId)
      : this.hasAny({ workflowId: [workflowId], sources });
  }

  /** Throws InvalidRequest where a query names a source that is not known. */
  refuseUnknownSource(source: string | undefined, token: TokenConfig | null): Promise<void> {
    return refuseUnknownSource(this.daemon, source, token);
  }

  /** Some of the workflows that are known, those of the configuration first. */
  async someWorkflows(): Promise<string[]> {
    const { config, stores } = this.daemon;
    const [learned, newest] = await Promise.all([
      stores.statistics.list({}, { limit: MOST_WORKFLOWS }),
      stores.watches.list({}, { limit: MOST_WORKFLOWS }),
    ]);
    const seen = newest.items.flatMap(({ run }) => run?.workflow_id ?? []);
    const known = learned.items.map(({ workflowId }) => workflowId);
    const all = new Set([...workflowsWithEntry(config), ...seen, ...known]);
    return [...all].slice(0, MOST_WORKFLOWS);
  }

  /**
   * Stops watching, or ends one subscription; a watch that has ended already does not change.
   * @param receiver the subscription, by an endpoint's name or a webhook's URL, masked or not
   */
  async unwatch(
    named: WatchName,
    receiver?: string,
  ): Promise<'done' | 'not_found' | 'not_subscribed'> {
    const { daemon } = this;
    const watch = await this.find(named);
    if (watch === null) return 'not_found';
    if (receiver !== undefined) {
      const ended = await endSubscription(daemon, watch, receiver);
      if (ended === 'done') daemon.watchNotes.changed(watch);
      return ended;
    }
    if (!(await endWatch(daemon, watch))) return 'not_found';
    daemon.watchNotes.cancelled(watch);
    return 'done';
  }

  /**
   * Stops watching, and erases the watch with its events and deliveries. False for an unknown watch.
   * Throws RunwatchError `purge_interrupted`.
   */
  async purge(named: WatchName, by: Acting): Promise<boolean> {
    const { daemon } = this;
    const watch = await this.find(named);
    if (watch === null) return false;
    const steps = {
      skipOutstanding: (key: WatchKey) => skipOutstanding(daemon, key),
      leaveAlerts: (key: WatchKey) => leaveAlerts(daemon, key),
    };
    const audit = auditOfRun(by, daemon.now(), { action: 'run.purge', watch });
    const isPurged = await purgeWatch(daemon, watch, steps, audit);
    if (isPurged) daemon.watchNotes.cancelled(watch);
    return isPurged;
  }

  /** What happened around a run, as far as a token may see it; null for an unknown watch. */
  async timeline(named: WatchName, token: TokenConfig | null): Promise<RunTimeline | null> {
    const { alerting, knownNames, stores } = this.daemon;
    const watch = await this.find(named);
    const history = watch === null ? null : await stores.timelines.read(watch);
    if (history === null) return null;
    const [events, alerts] = await Promise.all([
      knownNames.named(history.events),
      alertsOfRun(alerting, history, token),
    ]);
    return { ...timelineOf({ ...history, events }), alerts };
  }

  /**
   * Marks a run as taken in hand, whatever the state of its watch.
   * @returns `past` where it would expire at once
   */
  async acknowledge(
    named: WatchName,
    { by, comment, until }: AcknowledgeInput,
    user: Acting,
  ): Promise<WatchView | 'not_found' | 'past'> {
    const { daemon } = this;
    const watch = await this.find(named);
    if (watch === null) return 'not_found';
    const untilMs = until && endOf(until, daemon.now());
    if (untilMs !== undefined && untilMs <= daemon.now()) return 'past';
    const request = { by, comment: comment ?? null, until: untilMs ?? null };
    const details = saidDetails(request);
    const act = { action: 'run.acknowledge', watch, details } as const;
    const audit = auditOfRun(user, daemon.now(), act);
    const after = await acknowledgeRun(daemon, watch, request, audit);
    return after === null ? 'not_found' : this.viewOf(after);
  }

  /** Takes that back. @returns false for an unknown watch */
  async withdraw(named: WatchName, user: Acting): Promise<boolean> {
    const { daemon } = this;
    const watch = await this.find(named);
    if (watch === null) return false;
    const audit = auditOfRun(user, daemon.now(), { action: 'run.unacknowledge', watch });
    return (await acknowledgeRun(daemon, watch, null, audit)) !== null;
  }

  /** `closed`: why its source takes no requests before, where that is so. */
  async pollNow(
    named: WatchName,
  ): Promise<{ closed: ClosedSource | null } | 'not_found' | 'not_active'> {
    const watch = await this.find(named);
    if (watch === null) return 'not_found';
    if (watch.state !== 'active') return 'not_active';
    const source = this.daemon.poller.sourceOf(watch.source);
    await source?.schedule.expedite([watch.runId]);
    return { closed: await closedSource(source) };
  }

  /**
   * Also of a source that is no longer configured, if it is named.
   * Throws InvalidRequest, RunwatchError `several_sources`.
   */
  private async find({
    sources = sourceNames(this.daemon),
    runId,
  }: WatchName): Promise<Watch | null> {
    const { daemon } = this;
    const keys = runKeysOf(daemon, sources, runId);
    if (keys.length === 0) throw invalid('path.run_id', idProblemOf(daemon, sources, runId));
    const stored = await daemon.stores.watches.getMany(keys);
    const found = stored.flatMap((one) => (one === null ? [] : [one.watch]));
    const having = new Set(found.map(({ source }) => source));
    if (having.size > 1) throw severalSources('several sources have this run', [...having]);
    return found[0] ?? null;
  }

  private hasAny(filter: WatchFilter): Promise<boolean> {
    return hasAny(this.daemon, filter);
  }

  private derivedSecret(webhook: WatchRequest['webhook'], source: string): string | null {
    if (webhook === undefined || webhook.secret !== undefined) return null;
    return deriveWebhookSecret(this.daemon.secrets.signingSecret, { source, url: webhook.url });
  }

  private async viewOf(watch: Watch): Promise<WatchView> {
    return this.viewWith(watch, await this.dueTimesOf([watch]));
  }

  private async viewsOf(watches: readonly Watch[]): Promise<WatchView[]> {
    const dueTimes = await this.dueTimesOf(watches);
    return watches.map((watch) => this.viewWith(watch, dueTimes));
  }

  private viewWith(watch: Watch, dueTimes: ReadonlyMap<string, number | null>): WatchView {
    const { workflowName, runUrl } = this.daemon.linksOf(watch);
    const acknowledged = inForce(watch.acknowledged, this.daemon.now());
    const nextPollAt = dueTimes.get(watchId(watch)) ?? null;
    return { ...watch, acknowledged, nextPollAt, workflowName, runUrl };
  }

  /** When watches are polled next: as scheduled, but not before the probe of a paused source. */
  private async dueTimesOf(watches: readonly Watch[]): Promise<Map<string, number | null>> {
    const { poller, stores } = this.daemon;
    const due = new Map<string, number | null>();
    const active = watches.filter(({ state }) => state === 'active');
    for (const [source, own] of groupBy(active, (watch) => watch.source)) {
      const runIds = own.map(({ runId }) => runId);
      const [times, closed] = await Promise.all([
        stores.requests.dueTimes(source, runIds),
        closedSource(poller.sourceOf(source)),
      ]);
      for (const [at, runId] of runIds.entries()) {
        const time = times[at] ?? null;
        due.set(watchId({ source, runId }), time && Math.max(time, closed?.probeAt ?? 0));
      }
    }
    return due;
  }
}

function registeredAs(
  found: { kind: string; watch: WatchView | undefined } | undefined,
  webhookSecret: string | null,
): WatchResult {
  if (found?.watch === undefined)
    throw new RunwatchError('a result is missing', { code: 'internal' });
  const isNew = found.kind === 'created' || found.kind === 'renewed';
  return { kind: isNew ? 'created' : 'merged', watch: found.watch, webhookSecret };
}

/** True, too, where there are too many watches to say so. */
async function hasAny({ stores }: Process, filter: WatchFilter): Promise<boolean> {
  const { items, nextCursor } = await stores.watches.list(filter, { limit: 1 });
  return items.length > 0 || nextCursor !== null;
}

/** The sources that are configured. */
function sourceNames({ config }: Process): string[] {
  return Object.keys(config.sources);
}

/**
 * A source that is configured no more may still have watches. To a limited token every other source is
 * refused alike, so that it learns of none whether it exists.
 */
export async function refuseUnknownSource(
  process: Process,
  source: string | undefined,
  token: TokenConfig | null,
): Promise<void> {
  sourcesMeant(token, source);
  const configured = sourceNames(process);
  if (source === undefined || configured.includes(source)) return;
  if (await hasAny(process, { sources: [source] })) return;
  const known = (sourcesOf(token) ?? configured).join(', ');
  throw invalid('query.source', `no source is named "${source}"; expected one of: ${known}`);
}

function requestRules(daemon: Daemon): RequestRules {
  const { config, deliverer, endpoints, secrets } = daemon;
  return {
    traitsOf: (source) => daemon.traitsOf(source),
    sources: Object.keys(config.sources),
    endpoints: endpoints.names,
    defaultEndpoints: endpoints.defaults,
    forbids(url) {
      const verdict = deliverer.egressGuard.check(new URL(url));
      return verdict.allowed ? null : verdict.message;
    },
    seal: (plain, context) => secrets.sealer.seal(plain, context),
  };
}

/** Takes a run that is purged out of its alerts. */
async function leaveAlerts({ alerting, log, stores }: Daemon, key: WatchKey): Promise<void> {
  const stored = await stores.watches.get(key);
  if (stored === null) return;
  try {
    await alerting.engine.leave(stored.watch);
  } catch (error) {
    // A purge makes room in a Redis that is full, which takes nothing more.
    if (!(error instanceof RunwatchError && error.code === 'redis_refuses')) throw error;
    log.warn({ run_id: key.runId, source: key.source, err: error }, 'alerts.purged_run_kept');
  }
}

function quotaOf({ token, mostWatches }: Registrant): WatchQuota | null {
  return token === null || mostWatches === null ? null : { token, most: mostWatches };
}

function severalSources(what: string, sources: readonly string[]): RunwatchError {
  const detail = `${what}: ${sources.join(', ')}; name one of them as source`;
  return new RunwatchError(detail, { code: 'several_sources' });
}

/** Of a registration without a source. */
function severalPossible(sources: readonly string[]): RunwatchError {
  return severalSources('several sources can have this run', sources);
}

type Own = Routes['watches'];
type Asked = Requests<Own>;
type WatchJson = z.output<typeof watchSchema>;
type BatchResult = Answer<Own['registerBatch']>['results'][number];

/** What the API does with watches, as it is asked and answered. */
export class WatchSlice implements Slice<Own> {
  constructor(
    private readonly watches: WatchService,
    private readonly batches: Pick<BatchService, 'meant' | 'namesOf' | 'closeNamed'>,
  ) {}

  async register({ body, token }: Asked['register'], reply: Pick<FastifyReply, 'code' | 'header'>) {
    const [result] = await this.watches.register([toWatchRequest(body)], registrantOf(token));
    if (result === undefined) throw new Error('a registration without a result');
    if (result.kind === 'invalid') throw new InvalidRequest(result.issues);
    if (result.kind === 'too_many_watches') throw refusal(result.kind, tooManyWatches(token));
    if (result.kind === 'several_sources') throw severalPossible(result.sources);
    if ('batch' in result) throw refusal(result.kind, batchText(result));
    if (result.kind === 'created') reply.code(201).header('location', pathOf(result.watch));
    return presentRegistered(result, token);
  }

  async list({ query, token }: Asked['list']) {
    await this.refuseUnknown(query, token);
    const batch = query.batch && (await this.batchMeant(query.batch, token));
    return presentCountedPage(await this.watches.list(insideOf(query, token, batch)), presentWatch);
  }

  async get(request: Asked['get']) {
    const watch = await this.watches.get(watchNamed(request));
    if (watch === null) throw notWatched(request);
    const batches = await this.batches.namesOf(watch.batches, request.token);
    return { ...presentWatch(watch), batches };
  }

  async poll(request: Asked['poll']) {
    const outcome = await this.watches.pollNow(watchNamed(request));
    if (outcome === 'not_found') throw notWatched(request);
    if (outcome === 'not_active') {
      throw refusal('watch_not_active', 'the watch has ended; register the run to watch it again');
    }
    const { closed } = outcome;
    return { paused_until: closed && isoTime(closed.probeAt), message: closed?.message ?? null };
  }

  async timeline(request: Asked['timeline']) {
    const timeline = await this.watches.timeline(watchNamed(request), request.token);
    if (timeline === null) throw notWatched(request);
    return presentTimeline(timeline);
  }

  async unwatch(request: FastifyRequest & Asked['unwatch'], reply: FastifyReply) {
    const { endpoint, purge } = request.query;
    requireScope(request, reply, purge === 'true' ? 'admin' : 'write');
    if (purge === 'true') {
      if (!(await this.watches.purge(watchNamed(request), request))) throw notWatched(request);
      return;
    }
    const outcome = await this.watches.unwatch(watchNamed(request), endpoint);
    if (outcome === 'not_found') throw notWatched(request);
    if (outcome === 'not_subscribed') {
      throw refusal('subscription_not_found', 'this watch has no such subscription');
    }
  }

  async registerBatch({ body, token }: Asked['registerBatch']) {
    const parsed = body.watches.map((item) => parse(watchRequest, item));
    const good = parsed.flatMap((item) => {
      if (!item.ok) return [];
      const request = toWatchRequest(item.value);
      const { batch = body.batch } = request;
      if (batch === undefined) return [request];
      return [{ ...request, batch, closesBatch: body.open !== true }];
    });
    const outcomes =
      good.length === 0 ? [] : await this.watches.register(good, registrantOf(token));
    // Those that the last of them has not closed, since it was a member, or was refused.
    if (body.open !== true) {
      const named = good.flatMap(({ batch }) => batch ?? []);
      await this.batches.closeNamed([...new Set(named)], token);
    }
    const registered = outcomes.values();
    const results = parsed.map((item, index) => {
      const given: GivenItem = { index, runId: givenRunId(body.watches[index]) };
      if (!item.ok) return invalidItem(given, item.issues);
      return presentOutcome(given, registered.next().value, token);
    });
    return { results: limitProblems(results) };
  }

  async acknowledge(request: Acting & Asked['acknowledge']) {
    const watch = await this.watches.acknowledge(watchNamed(request), request.body, request);
    if (watch === 'not_found') throw notWatched(request);
    if (watch === 'past') throw invalid('until', 'expected a time that is still to come');
    return presentReceipt(watch, request.token);
  }

  async withdraw(request: Acting & Asked['withdraw']) {
    if (!(await this.watches.withdraw(watchNamed(request), request))) throw notWatched(request);
  }

  /** The id of the batch that a query names; a slip is one of the query. */
  private async batchMeant(text: string, token: TokenConfig | null): Promise<string> {
    try {
      return (await this.batches.meant(text, token)).batch.id;
    } catch (error) {
      if (!(error instanceof RunwatchError && error.code === 'batch_not_found')) throw error;
      throw invalid('query.batch', error.message);
    }
  }

  /** A slip would match nothing, and pass for a list with nothing in it. */
  private async refuseUnknown(
    { status = [], workflow_id: workflowIds = [], source }: Asked['list']['query'],
    token: TokenConfig | null,
  ): Promise<void> {
    const { watches } = this;
    // What other sources have is not known to a token that is limited to some.
    const sources = sourcesOf(token);
    for (const one of status) {
      const isKnown = (KNOWN_STATUSES as readonly string[]).includes(one);
      if (isKnown || (await watches.hasStatus(one, sources))) continue;
      const expected = KNOWN_STATUSES.join(', ');
      throw invalid('query.status', `no run has this status; expected any of ${expected}`);
    }
    for (const [at, workflowId] of workflowIds.entries()) {
      if (await watches.hasWorkflow(workflowId, sources)) continue;
      const known = sources === undefined ? await watches.someWorkflows() : [];
      const hint = known.length === 0 ? '' : `; known are ${known.join(', ')}`;
      throw invalid(`query.workflow_id.${at}`, `no run of this workflow is watched${hint}`);
    }
    await watches.refuseUnknownSource(source, token);
  }
}

/** A query in the words of the inside, all of it. */
function insideOf(
  query: Asked['list']['query'],
  token: TokenConfig | null,
  batch: string | undefined,
): Complete<WatchQuery> {
  const { state, status, source, workflow_id: workflowId, metadata, ...others } = query;
  const { since, until, order, limit, cursor, batch: _named, ...rest } = others;
  rest satisfies Record<string, never>;
  const { sources } = sourcesMeant(token, source);
  const filter = { state, status, sources, workflowId, batch, metadata };
  return { ...filter, since, until, order, limit, cursor };
}

/** The watch that a request names, within the sources of its token. */
export function watchNamed({ params, query, token }: Asked['get']): WatchName {
  return { runId: params.run_id, ...sourcesMeant(token, query.source) };
}

export function notWatched({ params, query }: Asked['get']): RunwatchError {
  const of = query.source === undefined ? '' : ` of source ${query.source}`;
  return refusal('watch_not_found', `the run ${params.run_id}${of} is not watched`);
}

function pathOf({ runId, source }: WatchKey): string {
  return `/v1/watches/${encodeURIComponent(runId)}?source=${encodeURIComponent(source)}`;
}

/** A checked body in the words of the inside. */
export function toWatchRequest(body: z.output<typeof watchRequest>): WatchRequest {
  const { run_id: runId, timeout: timeoutMs, max_delay: maxDelayMs, ...same } = body;
  return {
    ...same,
    runId,
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(maxDelayMs !== undefined && { maxDelayMs }),
  };
}

function registrantOf(token: TokenConfig | null): Registrant {
  return {
    token: token?.name ?? null,
    mostWatches: token?.max_watches ?? null,
    ...sourcesMeant(token),
  };
}

function isBatchRefusal(kind: string | undefined): kind is BatchRefusal {
  return (BATCH_REFUSALS as readonly (string | undefined)[]).includes(kind);
}

function batchText({ kind, batch }: { kind: BatchRefusal; batch: string }): string {
  return {
    batch_closed: `the batch "${batch}" is closed: its name is free once all its runs have ended`,
    batch_full: `the batch "${batch}" has ${MOST_MEMBERS} runs, the most that one may have: name another`,
    too_many_batches: `the run is in ${MOST_BATCHES_OF_WATCH} batches, the most that one may be in, or there are as many batches as are kept: leave the batch out, or delete some`,
  }[kind];
}

function tooManyWatches(token: TokenConfig | null): string {
  return `the token "${token?.name}" has registered ${token?.max_watches} active watches, the most that it may (max_watches): end some, or wait until they end`;
}

/** One answer lists a limited number of problems; the others are still said in a sentence each. */
function limitProblems(results: BatchResult[]): BatchResult[] {
  let left = MAX_ISSUES;
  return results.map((result) => {
    if (result.error === undefined) return result;
    const errors = result.error.errors.slice(0, left);
    left -= errors.length;
    return { ...result, error: { ...result.error, errors } };
  });
}

interface GivenItem {
  index: number;
  /** As it was given; null where that is no string. */
  runId: string | null;
}

function presentOutcome(
  item: GivenItem,
  outcome: WatchResult | undefined,
  token: TokenConfig | null,
): BatchResult {
  if (outcome === undefined) throw new Error('a registration without a result');
  if (outcome.kind === 'invalid') return invalidItem(item, outcome.issues);
  if (outcome.kind === 'too_many_watches') {
    const detail = tooManyWatches(token);
    return { run_id: item.runId, status: 409, error: { code: outcome.kind, detail, errors: [] } };
  }
  if (outcome.kind === 'several_sources') {
    const { message: detail } = severalPossible(outcome.sources);
    return { run_id: item.runId, status: 409, error: { code: outcome.kind, detail, errors: [] } };
  }
  if ('batch' in outcome) {
    const detail = batchText(outcome);
    return { run_id: item.runId, status: 409, error: { code: outcome.kind, detail, errors: [] } };
  }
  const status = outcome.kind === 'created' ? 201 : 200;
  return { run_id: item.runId, status, watch: presentRegistered(outcome, token) };
}

function invalidItem({ index, runId }: GivenItem, issues: InputIssue[]): BatchResult {
  const errors = issues.map(({ path, message }) => ({
    path: path === '' ? `watches.${index}` : `watches.${index}.${path}`,
    message,
  }));
  const detail = summaryOf(errors);
  return { run_id: runId, status: 422, error: { code: 'invalid_request', detail, errors } };
}

function givenRunId(item: unknown): string | null {
  const { run_id: runId } = (item ?? {}) as { run_id?: unknown };
  return typeof runId === 'string' ? runId : null;
}

type Registered = Extract<WatchResult, { watch: unknown }>;

/** A watch as its registration is answered with; what others gave is left out where the token may not read. */
function presentRegistered(
  { watch, webhookSecret }: Registered,
  token: TokenConfig | null,
): Answer<Own['register']> {
  return {
    ...presentReceipt(watch, token),
    ...(webhookSecret !== null && { webhook_secret: webhookSecret }),
  };
}

/** A watch as the API shows it. */
export function presentWatch(watch: WatchView): WatchJson {
  return {
    run_id: watch.runId,
    source: watch.source,
    registered_by: watch.registeredBy,
    state: watch.state,
    run: watch.run,
    workflow_name: watch.workflowName,
    run_url: watch.runUrl,
    changed_at: isoTime(watch.changedAt),
    acknowledged: presentAcknowledgement(watch.acknowledged),
    metadata: watch.metadata,
    subscriptions: watch.subscriptions.map(presentSubscription),
    sequence: watch.sequence,
    polls: watch.polls,
    registered_at: isoTime(watch.registeredAt),
    last_polled_at: timeOrNull(watch.lastPolledAt),
    next_poll_at: timeOrNull(watch.nextPollAt),
    timeout_at: isoTime(watch.timeoutAt),
    error: presentError(watch),
  };
}

/** A watch as a change of it is answered with. */
function presentReceipt(
  watch: WatchView,
  token: TokenConfig | null,
): z.output<typeof watchOrReceipt> {
  return mayRead(token) ? presentWatch(watch) : { run_id: watch.runId, source: watch.source };
}

/** A webhook's URL is masked, its secret and headers are left out; its patterns are those in force. */
function presentSubscription(subscription: Subscription): WatchJson['subscriptions'][number] {
  return subscription.kind === 'endpoint'
    ? { endpoint: subscription.endpoint }
    : {
        url: shownReceiver(subscription.receiver),
        events: patternsInForce(subscription.events),
      };
}

/** Why the state of the run is unknown: it is gone, or not found so far, or polls fail. */
function presentError({ gone, missing, trouble }: WatchView): WatchJson['error'] {
  if (gone !== null) return { ...gone, since: isoTime(gone.since) };
  if (missing !== null) {
    const { code, message, since } = missing;
    return { code, message, since: isoTime(since) };
  }
  return trouble && { code: trouble.kind, message: trouble.message, since: isoTime(trouble.since) };
}

/** A timeline as the API shows it. */
function presentTimeline(timeline: RunTimeline): z.output<typeof timelineSchema> {
  return {
    states: timeline.states.map(({ at, until, status, progress }) => ({
      at: isoTime(at),
      until: until === null ? null : isoTime(until),
      status,
      progress,
    })),
    polls: timeline.polls.map(({ at, mode, outcome, durationMs, lagMs }) => ({
      at: isoTime(at),
      kind: mode,
      outcome,
      duration_ms: durationMs,
      lag_ms: lagMs,
    })),
    events: timeline.events.map(presentTimedEvent),
    deliveries: timeline.deliveries.map(({ delivery, attempts, split }) => ({
      ...presentDelivery(delivery),
      relay_ms: split.relayMs,
      receiver_ms: split.receiverMs,
      attempts: attempts.map((one) => ({ at: isoTime(one.at), ...presentResult(one) })),
    })),
    alerts: timeline.alerts,
    truncated: timeline.isCut,
  };
}

function presentTimedEvent({ event, split }: Timeline['events'][number]) {
  const { detected_at: at } = event.data;
  return { ...event, at, waiting_ms: split.waitingMs, poll_ms: split.pollMs };
}
