import type { RateLimit } from '../core/source/limiter.ts';
import { isoTime } from '../core/event/event.ts';
import { OverdueWatch } from '../poll/overdue.ts';
import type { SourceDependencies } from './source.ts';

/** Watches whether the polls of a source are overdue: tells log and endpoints that name it, once. */
export function openOverdueWatch(
  { requests, systemEvents, now }: SourceDependencies,
  source: string,
  limit: RateLimit,
): OverdueWatch {
  return new OverdueWatch({
    source,
    limit,
    store: requests,
    onOverdue: ({ polls, oldestMs, wantedRequests }) =>
      systemEvents.raise({
        type: 'polling.overdue',
        level: 'warn',
        data: {
          source,
          polls,
          oldest_ms: Math.round(oldestMs),
          since: isoTime(now() - oldestMs),
          rate_limit: { requests: limit.requests, per_ms: limit.perMs },
          rate_limit_that_would_do: { requests: wantedRequests, per_ms: limit.perMs },
        },
      }),
    onCaughtUp: () =>
      systemEvents.raise({ type: 'polling.caught_up', level: 'info', data: { source } }),
  });
}
