import { groupBy } from '../../core/arrays.ts';
import { RunwatchError } from '../../core/errors.ts';
import { endOf, withMoments } from '../../core/time.ts';
import {
  inForce,
  MAX_WEBHOOKS,
  watchId,
  type Watch,
  type WatchKey,
} from '../../core/watch/watch.ts';
import type { WatchQuota } from '../../redis/commit.ts';
import { timelineOf } from '../../core/watch/timeline.ts';
import type { LinksOf } from '../../core/run/links.ts';
import type { ClosedSource } from '../../core/source/throttle.ts';
import type { WatchRequest } from '../../core/watch/register.ts';
import type {
  Registrant,
  WatchName,
  WatchResult,
  WatchService,
  WatchView,
} from '../../http/services.ts';
import { acknowledgeRun } from '../../watches/acknowledge.ts';
import { endSubscription, endWatch } from '../../watches/end.ts';
import type { Poller } from '../../source/poller.ts';
import { registerWatches, resolveRequest, type RequestRules } from '../../watches/register.ts';
import type { ScheduleStore } from '../../redis/stores/schedule-store.ts';
import type { StatisticsStore } from '../../redis/stores/statistics-store.ts';
import type { TimelineStore } from '../../redis/stores/timeline-store.ts';
import type { WatchStore } from '../../redis/stores/watch-store.ts';
import type { WatchNotes } from '../known-watches.ts';

/** What users see of watches beside what is stored of them. */
interface ViewDependencies {
  schedule: Pick<ScheduleStore, 'dueTimes'>;
  /** Why a source takes no requests now; null if it does. */
  closedSource: (source: string) => Promise<ClosedSource | null>;
  linksOf: LinksOf;
  now: () => number;
}

interface WatchServiceDependencies extends ViewDependencies {
  poller: Pick<Poller, 'process' | 'sourceOf'>;
  watches: WatchStore;
  timelines: Pick<TimelineStore, 'read'>;
  /** Resolves with false for an unknown watch. */
  purgeWatch: (key: WatchKey) => Promise<boolean>;
  rules: RequestRules;
  /** Throws where what is registered would not be kept. */
  refuseIfLost: () => void;
  notes: Pick<WatchNotes, 'registered' | 'changed' | 'cancelled'>;
  /** The ids of those that are configured. */
  workflows: readonly string[];
  statistics: Pick<StatisticsStore, 'list'>;
  /** The secret of a webhook that comes without one. */
  deriveSecret: (webhook: { source: string; url: string }) => string;
}

/** Workflows that a refusal names. */
const MOST_WORKFLOWS = 20;

const TOO_MANY_WEBHOOKS = {
  path: 'webhook',
  message: `a watch has up to ${MAX_WEBHOOKS} webhooks; end one of them by DELETE with its URL as endpoint`,
};

export function createWatchService(deps: WatchServiceDependencies): WatchService {
  const find = (named: WatchName) => findWatch(deps, named);
  return { register: createRegister(deps), ...readsOf(deps, find), ...changesOf(deps, find) };
}

type Find = (named: WatchName) => Promise<Watch | null>;

type ReadMethod =
  | 'get'
  | 'list'
  | 'timeline'
  | 'hasStatus'
  | 'hasWorkflow'
  | 'someWorkflows'
  | 'hasSource'
  | 'sources';

function readsOf(deps: WatchServiceDependencies, find: Find): Pick<WatchService, ReadMethod> {
  const { watches, rules } = deps;
  /** True, too, where there are too many watches to say so. */
  const hasAny = async (filter: Parameters<typeof watches.list>[0]) => {
    const { items, nextCursor } = await watches.list(filter, { limit: 1 });
    return items.length > 0 || nextCursor !== null;
  };
  return {
    async get(named) {
      const watch = await find(named);
      return watch === null ? null : viewOf(deps, watch);
    },

    async list({ limit, cursor, order, ...filter }) {
      const query = { limit, cursor, order };
      const { items, ...page } = await watches.list(withMoments(filter, deps.now()), query);
      return { items: await viewsOf(deps, items), ...page };
    },

    hasStatus: (status, sources) =>
      sources === undefined ? watches.hasStatus(status) : hasAny({ status: [status], sources }),
    async hasWorkflow(workflowId, sources) {
      if (deps.workflows.includes(workflowId)) return true;
      return sources === undefined
        ? watches.hasWorkflow(workflowId)
        : hasAny({ workflowId: [workflowId], sources });
    },
    hasSource: async (source) => rules.sources.includes(source) || hasAny({ sources: [source] }),
    sources: rules.sources,
    async someWorkflows() {
      const [learned, newest] = await Promise.all([
        deps.statistics.list({}, { limit: MOST_WORKFLOWS }),
        watches.list({}, { limit: MOST_WORKFLOWS }),
      ]);
      const seen = newest.items.flatMap(({ run }) => run?.workflow_id ?? []);
      const known = learned.items.map(({ workflowId }) => workflowId);
      return [...new Set([...deps.workflows, ...seen, ...known])].slice(0, MOST_WORKFLOWS);
    },

    async timeline(named) {
      const watch = await find(named);
      const history = watch === null ? null : await deps.timelines.read(watch);
      return history === null ? null : timelineOf(history);
    },
  };
}

function changesOf(
  deps: WatchServiceDependencies,
  find: Find,
): Pick<WatchService, 'unwatch' | 'purge' | 'acknowledge' | 'withdraw' | 'pollNow'> {
  const { process } = deps.poller;
  return {
    async unwatch(named, receiver) {
      const watch = await find(named);
      if (watch === null) return 'not_found';
      if (receiver !== undefined) {
        const ended = await endSubscription(process, watch, receiver);
        if (ended === 'done') deps.notes.changed(watch);
        return ended;
      }
      if (!(await endWatch(process, watch))) return 'not_found';
      deps.notes.cancelled(watch);
      return 'done';
    },

    async purge(named) {
      const watch = await find(named);
      if (watch === null || !(await deps.purgeWatch(watch))) return false;
      deps.notes.cancelled(watch);
      return true;
    },

    async acknowledge(named, { by, comment = null, until }) {
      const watch = await find(named);
      if (watch === null) return 'not_found';
      const untilMs = until && endOf(until, deps.now());
      if (untilMs !== undefined && untilMs <= deps.now()) return 'past';
      const after = await acknowledgeRun(process, watch, { by, comment, until: untilMs ?? null });
      return after === null ? 'not_found' : viewOf(deps, after);
    },

    async withdraw(named) {
      const watch = await find(named);
      return watch !== null && (await acknowledgeRun(process, watch, null)) !== null;
    },

    async pollNow(named) {
      const watch = await find(named);
      if (watch === null) return 'not_found';
      if (watch.state !== 'active') return 'not_active';
      await deps.poller.sourceOf(watch.source)?.schedule.expedite([watch.runId]);
      return { closed: await deps.closedSource(watch.source) };
    },
  };
}

/** Registers runs by the names that their requests use. */
function createRegister(deps: WatchServiceDependencies): WatchService['register'] {
  const derivedSecret = (webhook: WatchRequest['webhook'], source: string) =>
    webhook === undefined || webhook.secret !== undefined
      ? null
      : deps.deriveSecret({ source, url: webhook.url });

  return async (requests, by) => {
    deps.refuseIfLost();
    const resolved = requests.map((request) => resolveRequest(request, deps.rules, by));
    const good = resolved.flatMap((one) => ('registration' in one ? [one.registration] : []));
    // Before anything is written: what fails here is answered by an error, and nothing has happened.
    const secrets = resolved.map((one, at) =>
      'registration' in one ? derivedSecret(requests[at]?.webhook, one.registration.source) : null,
    );
    const results = await registerWatches(deps.poller, good, quotaOf(by));
    const taken = results.filter((result) => 'watch' in result);
    deps.notes.registered(taken.map(({ watch }) => watch));
    const views = await viewsOf(
      deps,
      taken.map(({ watch }) => watch),
    );
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
  };
}

function quotaOf({ token, mostWatches }: Registrant): WatchQuota | null {
  return token === null || mostWatches === null ? null : { token, most: mostWatches };
}

/** Also of a source that is no longer configured, if it is named. Throws `several_sources`. */
async function findWatch(
  { watches, rules }: WatchServiceDependencies,
  { sources = rules.sources, runId }: WatchName,
): Promise<Watch | null> {
  const stored = await watches.getMany(sources.map((one) => ({ source: one, runId })));
  const found = stored.flatMap((one) => (one === null ? [] : [one.watch]));
  if (found.length > 1) throw severalSources(found);
  return found[0] ?? null;
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

async function viewOf(deps: ViewDependencies, watch: Watch): Promise<WatchView> {
  const dueTimes = await dueTimesOf(deps, [watch]);
  return viewWith(deps, watch, dueTimes);
}

async function viewsOf(deps: ViewDependencies, watches: readonly Watch[]): Promise<WatchView[]> {
  const dueTimes = await dueTimesOf(deps, watches);
  return watches.map((watch) => viewWith(deps, watch, dueTimes));
}

function viewWith(
  { linksOf, now }: ViewDependencies,
  watch: Watch,
  dueTimes: ReadonlyMap<string, number | null>,
): WatchView {
  const { workflowName, runUrl } = linksOf(watch);
  const acknowledged = inForce(watch.acknowledged, now());
  const nextPollAt = dueTimes.get(watchId(watch)) ?? null;
  return { ...watch, acknowledged, nextPollAt, workflowName, runUrl };
}

/** When watches are polled next: as scheduled, but not before the probe of a paused source. */
async function dueTimesOf(
  { schedule, closedSource }: ViewDependencies,
  watches: readonly Watch[],
): Promise<Map<string, number | null>> {
  const due = new Map<string, number | null>();
  const active = watches.filter(({ state }) => state === 'active');
  for (const [source, own] of groupBy(active, (watch) => watch.source)) {
    const runIds = own.map(({ runId }) => runId);
    const [times, closed] = await Promise.all([
      schedule.dueTimes(source, runIds),
      closedSource(source),
    ]);
    for (const [at, runId] of runIds.entries()) {
      const time = times[at] ?? null;
      due.set(watchId({ source, runId }), time && Math.max(time, closed?.probeAt ?? 0));
    }
  }
  return due;
}
