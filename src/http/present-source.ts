import type { z } from 'zod';
import { formatDuration } from '../core/duration.ts';
import { isoTime } from '../core/event/event.ts';
import { timeOrNull } from './present.ts';
import type { sourceSchema } from './schemas/source.ts';
import type { ClosedSource } from '../core/source/throttle.ts';
import type { pollAnswer } from './schemas/watch.ts';
import type { SourceView } from './services.ts';

const STATES = {
  rate_limited: 'paused',
  unauthorized: 'unauthorized',
  unreachable: 'unreachable',
} as const;

/** What asking for a poll came to: while its source is closed, when that is tried next. */
export function presentPoll({
  closed,
}: {
  closed: ClosedSource | null;
}): z.output<typeof pollAnswer> {
  return {
    paused_until: closed === null ? null : isoTime(closed.probeAt),
    message: closed?.message ?? null,
  };
}

/** A source as the API shows it. */
export function presentSource(source: SourceView): z.output<typeof sourceSchema> {
  const { name, closed, since, answeredAt, limit, used } = source;
  return {
    name,
    state: closed === null ? 'answering' : STATES[closed.reason],
    since: closed === null ? null : timeOrNull(since),
    message: closed?.message ?? null,
    paused_until: closed === null ? null : isoTime(closed.probeAt),
    last_answer_at: timeOrNull(answeredAt),
    rate_limit: { requests: limit.requests, per: formatDuration(limit.perMs), used },
  };
}
