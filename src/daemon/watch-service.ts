import { RunwatchError } from '../core/errors.ts';
import type { WatchRequest } from '../core/register.ts';
import { watchId, type Watch } from '../core/watch.ts';
import type { WatchName, WatchResult, WatchService } from '../http/services.ts';
import { createEndSubscription } from '../poll/end-subscription.ts';
import { createEndWatch } from '../poll/end-watch.ts';
import { createRegisterWatches, type RegisterDependencies } from '../poll/register-watches.ts';
import { resolveRequest, type RequestRules } from '../poll/resolve-request.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { PollJobs } from './source.ts';
import type { WatchNotes } from './watch-notes.ts';

interface WatchServiceDependencies extends Omit<RegisterDependencies, 'watches' | 'jobsOf'> {
  watches: WatchStore;
  rules: RequestRules;
  notes: Pick<WatchNotes, 'registered' | 'changed' | 'cancelled'>;
  /** What signs for a webhook that comes without a secret. */
  deriveSecret: (url: string) => string;
  jobsOf: (source: string) => PollJobs | undefined;
}

export function createWatchService(deps: WatchServiceDependencies): WatchService {
  const { watches, rules, jobsOf } = deps;
  const registerWatches = createRegisterWatches(deps);
  const endWatch = createEndWatch(deps);
  const endSubscription = createEndSubscription(watches);

  /** Of a source that is configured no more, too, where it is named. Throws `several_sources`. */
  const find = async ({ source, runId }: WatchName): Promise<Watch | null> => {
    const sources = source === undefined ? rules.sources : [source];
    const stored = await watches.getMany(sources.map((one) => ({ source: one, runId })));
    const found = stored.flatMap((one) => (one === null ? [] : [one.watch]));
    if (found.length > 1) throw severalSources(found);
    return found[0] ?? null;
  };

  const derivedSecret = (webhook: WatchRequest['webhook']) =>
    webhook === undefined || webhook.secret !== undefined ? null : deps.deriveSecret(webhook.url);

  return {
    async register(requests) {
      const resolved = requests.map((request) => resolveRequest(request, rules));
      const good = resolved.flatMap((one) => ('registration' in one ? [one.registration] : []));
      const results = await registerWatches(good);
      deps.notes.registered(results.map(({ watch }) => watch));
      const registered = results.values();
      return resolved.map((one, at): WatchResult => {
        if ('issues' in one) return { kind: 'invalid', issues: one.issues };
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

    get: find,

    list: ({ limit, cursor, ...filter }) => watches.list(filter, { limit, cursor }),

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
      await jobsOf(watch.source)?.hasten(watchId(watch));
      return 'scheduled';
    },
  };
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
