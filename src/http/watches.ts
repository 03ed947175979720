import { groupBy } from '../core/arrays.ts';
import { RunwatchError, type InputIssue } from '../core/errors.ts';
import type { CountedPage } from '../core/page.ts';
import type { ClosedSource } from '../core/source/throttle.ts';
import { endOf, withMoments, type Until, type WhenRange } from '../core/time.ts';
import type { WatchRequest } from '../core/watch/register.ts';
import { timelineOf, type Timeline } from '../core/watch/timeline.ts';
import {
  inForce,
  MAX_WEBHOOKS,
  watchId,
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
import type { WatchQuota } from '../redis/commit.ts';
import { registerWatches, resolveRequest, type RequestRules } from '../watches/register.ts';
import { closedSource } from './sources.ts';

/** A watch with the name of its workflow and the address of its run; `presentWatch` picks what is shown. */
export interface WatchView extends Watch {
  workflowName: string | null;
  runUrl: string | null;
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
      const { value: outcome } = kinds.next();
      if (outcome === 'too_many_watches') return { kind: outcome };
      if (outcome === 'too_many_webhooks') return { kind: 'invalid', issues: [TOO_MANY_WEBHOOKS] };
      const { value } = registered.next();
      if (value?.watch === undefined)
        throw new RunwatchError('a result is missing', { code: 'internal' });
      return {
        kind: value.kind === 'merged' ? 'merged' : 'created',
        watch: value.watch,
        webhookSecret: secrets[at] ?? null,
      };
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
    if (Object.hasOwn(config.workflows, workflowId)) return true;
    return sources === undefined
      ? stores.watches.hasWorkflow(workflowId)
      : this.hasAny({ workflowId: [workflowId], sources });
  }

  /** Whether a source is configured, or any watch has a run of it. */
  async hasSource(source: string): Promise<boolean> {
    return this.sources.includes(source) || this.hasAny({ sources: [source] });
  }

  /** The sources that are configured. */
  get sources(): readonly string[] {
    return Object.keys(this.daemon.config.sources);
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
    const all = new Set([...Object.keys(config.workflows), ...seen, ...known]);
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
  async purge(named: WatchName): Promise<boolean> {
    const { daemon } = this;
    const watch = await this.find(named);
    if (watch === null) return false;
    const isPurged = await purgeWatch(daemon, watch, {
      skipOutstanding: (key) => skipOutstanding(daemon, key),
      leaveAlerts: (key) => leaveAlerts(daemon, key),
    });
    if (isPurged) daemon.watchNotes.cancelled(watch);
    return isPurged;
  }

  /** What happened around a run; null for an unknown watch. */
  async timeline(named: WatchName): Promise<Timeline | null> {
    const watch = await this.find(named);
    const history = watch === null ? null : await this.daemon.stores.timelines.read(watch);
    return history === null ? null : timelineOf(history);
  }

  /**
   * Marks a run as taken in hand, whatever the state of its watch.
   * @returns `past` where it would expire at once
   */
  async acknowledge(
    named: WatchName,
    { by, comment, until }: AcknowledgeInput,
  ): Promise<WatchView | 'not_found' | 'past'> {
    const { daemon } = this;
    const watch = await this.find(named);
    if (watch === null) return 'not_found';
    const untilMs = until && endOf(until, daemon.now());
    if (untilMs !== undefined && untilMs <= daemon.now()) return 'past';
    const request = { by, comment: comment ?? null, until: untilMs ?? null };
    const after = await acknowledgeRun(daemon, watch, request);
    return after === null ? 'not_found' : this.viewOf(after);
  }

  /** Takes that back. @returns false for an unknown watch */
  async withdraw(named: WatchName): Promise<boolean> {
    const watch = await this.find(named);
    return watch !== null && (await acknowledgeRun(this.daemon, watch, null)) !== null;
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

  /** Also of a source that is no longer configured, if it is named. Throws `several_sources`. */
  private async find({ sources = this.sources, runId }: WatchName): Promise<Watch | null> {
    const keys = sources.map((source) => ({ source, runId }));
    const stored = await this.daemon.stores.watches.getMany(keys);
    const found = stored.flatMap((one) => (one === null ? [] : [one.watch]));
    if (found.length > 1) throw severalSources(found);
    return found[0] ?? null;
  }

  /** True, too, where there are too many watches to say so. */
  private async hasAny(filter: WatchFilter): Promise<boolean> {
    const { items, nextCursor } = await this.daemon.stores.watches.list(filter, { limit: 1 });
    return items.length > 0 || nextCursor !== null;
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

function requestRules({ config, deliverer, endpoints, secrets }: Daemon): RequestRules {
  return {
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

function severalSources(found: readonly Watch[]): RunwatchError {
  const sources = found.map(({ source }) => source).join(', ');
  return new RunwatchError(
    `several sources have this run: ${sources}; name one of them as source`,
    {
      code: 'several_sources',
    },
  );
}
