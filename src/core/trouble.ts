import { troubleDelay } from './cadence.ts';
import { isoTime } from './event.ts';
import type { Finding, ObserveContext, SourcePaused } from './look.ts';
import type { FetchTrouble, TroubleKind } from './outcome.ts';
import type { Watch } from './watch.ts';

/** How often a 404 is confirmed before a run counts as gone. */
const GONE_CONFIRMATIONS = 3;

/** What a 404 comes to, in words. */
export const NOT_FOUND = 'Noxus does not know this run (404)';

/** Polls held back by a pause are spread over this time after it. */
const PAUSE_SPREAD_MS = 1_000;

/** A 404 is believed only when it lasts: runs may become visible late, and proxies answer 404 too. */
export function runMissing(watch: Watch, { now, policy }: ObserveContext): Finding {
  const missing = {
    count: (watch.missing?.count ?? 0) + 1,
    since: watch.missing?.since ?? now,
  };
  const goneAt = missing.since + policy.goneAfterMs;
  if (missing.count > GONE_CONFIRMATIONS && now >= goneAt) {
    return runGone({ code: 'not_found', message: NOT_FOUND, since: missing.since });
  }
  const step = now + policy.goneAfterMs / GONE_CONFIRMATIONS;
  return {
    changes: { missing },
    news: [],
    nextPollAt: Math.max(step, now + policy.minIntervalMs),
  };
}

export function runGone(gone: NonNullable<Watch['gone']>): Finding {
  return {
    changes: { state: 'gone', gone, missing: null, trouble: null },
    news: [{ type: 'run.gone', details: { error: { ...gone, since: isoTime(gone.since) } } }],
    nextPollAt: gone.since,
  };
}

export function readFailed(watch: Watch, look: FetchTrouble, context: ObserveContext): Finding {
  const failures = watch.cadence.failures + 1;
  const retryAt = context.now + troubleDelay(failures, context.random);
  const finding = cannotTell(watch, look, retryAt, context);
  return { ...finding, changes: { ...finding.changes, cadence: { ...watch.cadence, failures } } };
}

/** Watches that wait for the same pause to end do not all come back in the same instant. */
export function sourcePaused(watch: Watch, pause: SourcePaused, context: ObserveContext): Finding {
  const retryAt = pause.untilMs + context.random() * PAUSE_SPREAD_MS;
  return cannotTell(watch, { kind: pause.reason, message: pause.message }, retryAt, context);
}

/**
 * Nothing was learned of the run: its snapshot stays, and only a long silence is worth an event. Time
 * in which nobody asked is no silence: what looks were late, as they are while the budget is short,
 * does not count.
 */
function cannotTell(
  watch: Watch,
  { kind, message }: { kind: TroubleKind; message: string },
  retryAt: number,
  { now, policy, lagMs }: ObserveContext,
): Finding {
  const since = watch.trouble?.since ?? now;
  const lateMs = watch.trouble === null ? 0 : (watch.trouble.lateMs ?? 0) + lagMs;
  const trouble = { kind, message, since, ...(lateMs > 0 && { lateMs }) };
  const unreachableAt = since + lateMs + policy.unreachableAfterMs;
  const raise = !watch.unreachable && now >= unreachableAt;
  const told = watch.unreachable || raise;
  const error = { code: kind, message, since: isoTime(trouble.since) };
  return {
    changes: { trouble, unreachable: told },
    news: raise ? [{ type: 'watch.unreachable', details: { error } }] : [],
    nextPollAt: told ? retryAt : Math.min(retryAt, unreachableAt),
  };
}
