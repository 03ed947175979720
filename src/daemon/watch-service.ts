import { RunwatchError } from '../core/errors.ts';
import { MAX_WEBHOOKS, type Watch } from '../core/watch/watch.ts';
import type { ClosedSource } from '../core/source/throttle.ts';
import type { WatchRequest } from '../core/watch/register.ts';
import type { WatchName, WatchResult, WatchService } from '../http/services.ts';
import { createEndSubscription, createEndWatch } from '../poll/end-watch.ts';
import {
  createRegisterWatches,
  groupBySource,
  type RegisterDependencies,
  resolveRequest,
  type RequestRules,
} from '../poll/register-watches.ts';
import type { Schedule } from '../poll/schedule.ts';
import type { ScheduleStore } from '../redis/stores/schedule-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { WatchNotes } from './known-watches.ts';

/** When watches are polled next. */
interface Timetable {
  schedule: Pick<ScheduleStore, 'dueTimes'>;
  /** Why a source takes no requests now; null if it does. */
  closedSource: (source: string) => Promise<ClosedSource | null>;
}

interface WatchServiceDependencies
  extends Omit<RegisterDependencies, 'watches' | 'scheduleOf'>, Timetable {
  watches: WatchStore;
  rules: RequestRules;
  notes: Pick<WatchNotes, 'registered' | 'changed' | 'cancelled'>;
  /** The secret of a webhook that comes without one. */
  deriveSecret: (url: string) => string;
  scheduleOf: (source: string) => Schedule | undefined;
}

const TOO_MANY_WEBHOOKS = {
  path: 'webhook',
  message: `a watch has up to ${MAX_WEBHOOKS} webhooks; end one of them by DELETE with its URL as endpoint`,
};

export function createWatchService(deps: WatchServiceDependencies): WatchService {
  const { watches, rules, scheduleOf } = deps;
  const registerWatches = createRegisterWatches(deps);
  const endWatch = createEndWatch(deps);
  const endSubscription = createEndSubscription(watches);

  const find = (named: WatchName) => findWatch(deps, named);

  const derivedSecret = (webhook: WatchRequest['webhook']) =>
    webhook === undefined || webhook.secret !== undefined ? null : deps.deriveSecret(webhook.url);

  return {
    async register(requests) {
      const resolved = requests.map((request) => resolveRequest(request, rules));
      const good = resolved.flatMap((one) => ('registration' in one ? [one.registration] : []));
      const results = await registerWatches(good);
      const taken = results.filter((result) => result !== null);
      deps.notes.registered(taken.map(({ watch }) => watch));
      const isTaken = results.map((result) => result !== null).values();
      const registered = (await dated(deps, taken)).values();
      return resolved.map((one, at): WatchResult => {
        if ('issues' in one) return { kind: 'invalid', issues: one.issues };
        if (isTaken.next().value === false) return { kind: 'invalid', issues: [TOO_MANY_WEBHOOKS] };
        const { value } = registered.next();
        if (value === undefined)
          throw new RunwatchError('a result is missing', { code: 'internal' });
        return {
          kind: value.kind === 'merged' ? 'merged' : 'created',
          watch: value.watch,
          webhookSecret: derivedSecret(requests[at]?.webhook),
        };
      });
    },

    async get(named) {
      const watch = await find(named);
      return watch === null ? null : withDueTime(deps, watch);
    },

    async list({ limit, cursor, ...filter }) {
      const { items, nextCursor } = await watches.list(filter, { limit, cursor });
      return { items: await withDueTimes(deps, items), nextCursor };
    },

    hasStatus: (status) => watches.hasStatus(status),

    async unwatch(named, receiver) {
      const watch = await find(named);
      if (watch === null) return 'not_found';
      if (receiver !== undefined) {
        const ended = await endSubscription(watch, receiver);
        if (ended === 'done') deps.notes.changed(watch);
        return ended;
      }
      if (!(await endWatch(watch))) return 'not_found';
      deps.notes.cancelled(watch);
      return 'done';
    },

    async pollNow(named) {
      const watch = await find(named);
      if (watch === null) return 'not_found';
      if (watch.state !== 'active') return 'not_active';
      await scheduleOf(watch.source)?.expedite([watch.runId]);
      return { closed: await deps.closedSource(watch.source) };
    },
  };
}

/** Also of a source that is no longer configured, if it is named. Throws `several_sources`. */
async function findWatch(
  { watches, rules }: WatchServiceDependencies,
  { source, runId }: WatchName,
): Promise<Watch | null> {
  const sources = source === undefined ? rules.sources : [source];
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

async function withDueTime(timetable: Timetable, watch: Watch): Promise<Watch> {
  return (await withDueTimes(timetable, [watch]))[0] ?? watch;
}

async function dated<Item extends { watch: Watch }>(
  timetable: Timetable,
  items: readonly Item[],
): Promise<Item[]> {
  const watches = await withDueTimes(
    timetable,
    items.map(({ watch }) => watch),
  );
  return items.map((item, at) => ({ ...item, watch: watches[at] ?? item.watch }));
}

/** Watches with the time of their next poll: as scheduled, but not before the probe of a paused source. */
async function withDueTimes(
  { schedule, closedSource }: Timetable,
  watches: readonly Watch[],
): Promise<Watch[]> {
  const due = new Map<string, number | null>();
  for (const [source, own] of groupBySource(watches.filter(({ state }) => state === 'active'))) {
    const runIds = own.map(({ runId }) => runId);
    const [times, closed] = await Promise.all([
      schedule.dueTimes(source, runIds),
      closedSource(source),
    ]);
    for (const [at, runId] of runIds.entries()) {
      const time = times[at] ?? null;
      due.set(`${source}/${runId}`, time && Math.max(time, closed?.probeAt ?? 0));
    }
  }
  return watches.map((watch) => ({
    ...watch,
    nextPollAt: due.get(`${watch.source}/${watch.runId}`) ?? null,
  }));
}
