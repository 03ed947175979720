import { RunwatchError } from '../core/errors.ts';
import type { WatchRequest } from '../core/register.ts';
import { watchId, type WatchKey } from '../core/watch.ts';
import type { WatchResult, WatchService } from '../http/services.ts';
import { createEndWatch } from '../poll/end-watch.ts';
import { createRegisterWatches, type RegisterDependencies } from '../poll/register-watches.ts';
import { resolveRequest, resolveSource, type RequestRules } from '../poll/resolve-request.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { PollJobs } from './source.ts';

interface WatchServiceDependencies extends Omit<RegisterDependencies, 'watches' | 'jobsOf'> {
  watches: WatchStore;
  rules: RequestRules;
  /** What signs for a webhook that comes without a secret. */
  deriveSecret: (url: string) => string;
  jobsOf: (source: string) => PollJobs | undefined;
}

export function createWatchService(deps: WatchServiceDependencies): WatchService {
  const { watches, rules, jobsOf } = deps;
  const registerWatches = createRegisterWatches(deps);
  const endWatch = createEndWatch(deps);

  const keyOf = ({ source, runId }: { source?: string; runId: string }): WatchKey | null => {
    const resolved = resolveSource(rules.sources, source);
    return resolved === null ? null : { source: resolved, runId };
  };

  const derivedSecret = (webhook: WatchRequest['webhook']) =>
    webhook === undefined || webhook.secret !== undefined ? null : deps.deriveSecret(webhook.url);

  return {
    async register(requests) {
      const resolved = requests.map((request) => resolveRequest(request, rules));
      const good = resolved.flatMap((one) => ('registration' in one ? [one.registration] : []));
      const registered = (await registerWatches(good)).values();
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

    async get(named) {
      const key = keyOf(named);
      return key === null ? null : ((await watches.get(key))?.watch ?? null);
    },

    list: ({ limit, cursor, ...filter }) => watches.list(filter, { limit, cursor }),

    async unwatch(named) {
      const key = keyOf(named);
      return key === null ? false : endWatch(key);
    },

    async pollNow(named) {
      const key = keyOf(named);
      const stored = key === null ? null : await watches.get(key);
      if (key === null || stored === null) return 'not_found';
      if (stored.watch.state !== 'active') return 'not_active';
      await jobsOf(key.source)?.hasten(watchId(key));
      return 'scheduled';
    },
  };
}
