import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { TokenConfig } from '../../config/schema.ts';
import { isoTime } from '../../core/event/event.ts';
import type { RateLimit } from '../../core/source/limiter.ts';
import { type Overdue, overdueText } from '../../core/source/overdue.ts';
import { readsText, type SourceReads } from '../../core/source/read-times.ts';
import { inconsistentMessage, type SourceConsistency } from '../../core/source/consistency.ts';
import type { ClosedSource } from '../../core/source/throttle.ts';
import { formatDuration } from '../../core/time.ts';
import type { StreamFigures } from '../../core/feed/run-stream.ts';
import { LIMITED, mayConcern } from '../auth.ts';
import { timeOrNull } from '../present.ts';
import { refusal } from '../problem.ts';
import { COMMON_PROBLEMS, jsonAnswer, problemAnswer } from '../schemas/common.ts';
import { sourceList, sourceParams, sourceSchema } from '../schemas/source.ts';

/** A source as users may see it: no key. Times are milliseconds since the epoch. */
export interface SourceView {
  name: string;
  /** Why nothing but probes is asked of it; null while it answers. */
  closed: ClosedSource | null;
  /** Since when it has given no valid answer; null while it does. */
  since: number | null;
  /** Why polls of its runs are not trusted; null while they agree. */
  inconsistency: SourceConsistency | null;
  /** When it last gave a valid answer; null where that is not known. */
  answeredAt: number | null;
  /** Why its last answer was not valid; null where it was, or none is known. */
  failure: string | null;
  limit: RateLimit;
  /** Requests that count against the limit now. */
  used: number;
  /** Its overdue polls; null where they keep up. */
  overdue: Overdue | null;
  /** How often its runs are read; null where that is not known. */
  reads: SourceReads | null;
  /** Its event streams. */
  streams: StreamFigures;
}

export interface SourceService {
  list(): Promise<SourceView[]>;
  /** Lifts a pause; null when there is no such source. */
  resume(name: string): Promise<SourceView | null>;
}

/** Lifting a pause is up to operators. */
const ADMIN = { scope: 'admin' as const, ...LIMITED };

const tags = ['Sources'];

const listSchema = {
  tags,
  operationId: 'listSources',
  summary: 'List sources, and whether they answer',
  response: { 200: jsonAnswer('All configured sources.', sourceList), ...COMMON_PROBLEMS },
};

const resumeSchema = {
  tags,
  operationId: 'resumeSource',
  summary: 'Lift the pause of a source',
  description:
    'Runs are polled again at once. A source that still does not answer is paused again.',
  params: sourceParams,
  response: {
    200: jsonAnswer('The source as it is now.', sourceSchema),
    ...COMMON_PROBLEMS,
    404: problemAnswer('No source has this name.'),
  },
};

/** How sources stand, and lifting their pauses. */
export const sourceRoutes: FastifyPluginAsyncZod<{ sources: SourceService }> = async (
  app,
  { sources },
) => {
  app.get('/sources', { schema: listSchema, config: LIMITED }, async ({ token }) => {
    const views = await shownTo(token, sources);
    return { data: views.map(presentSource) };
  });

  const resumeRoute = { schema: resumeSchema, config: ADMIN };
  app.post('/sources/:name/resume', resumeRoute, async ({ params: { name }, token }) => {
    const view = mayConcern(token, name) ? await sources.resume(name) : null;
    if (view !== null) return presentSource(view);
    const names = (await shownTo(token, sources)).map((one) => one.name).join(', ');
    throw refusal('source_not_found', `no source is named "${name}"; there are: ${names}`);
  });
};

async function shownTo(token: TokenConfig | null, sources: SourceService): Promise<SourceView[]> {
  return (await sources.list()).filter(({ name }) => mayConcern(token, name));
}

const STATES = {
  rate_limited: 'paused',
  unauthorized: 'unauthorized',
  unreachable: 'unreachable',
} as const;

function presentState({ closed, since, inconsistency, answeredAt, failure }: SourceView) {
  if (closed !== null) {
    return { state: STATES[closed.reason], since: timeOrNull(since), message: closed.message };
  }
  if (answeredAt === null) return { state: 'unknown' as const, since: null, message: failure };
  if (inconsistency === null) return { state: 'answering' as const, since: null, message: null };
  return {
    state: 'inconsistent' as const,
    since: timeOrNull(inconsistency.since),
    message: inconsistentMessage(inconsistency),
  };
}

/** A source as the API shows it. */
function presentSource(source: SourceView): z.output<typeof sourceSchema> {
  const { name, closed, answeredAt, limit, used, overdue, reads, streams } = source;
  return {
    name,
    ...presentState(source),
    paused_until: closed === null ? null : isoTime(closed.probeAt),
    last_answer_at: timeOrNull(answeredAt),
    rate_limit: { requests: limit.requests, per: formatDuration(limit.perMs), used },
    overdue: overdue && {
      polls: overdue.polls,
      oldest_ms: Math.round(overdue.oldestMs),
      rate_limit_that_would_do: {
        requests: overdue.wantedRequests,
        per: formatDuration(limit.perMs),
      },
      message: overdueText(overdue),
    },
    reads: reads && {
      runs: reads.runs,
      usual_ms: reads.usualMs,
      longest_ms: reads.longestMs,
      beyond_max_interval: reads.stretched,
      rate_limit_that_would_do: {
        requests: reads.wantedRequests,
        per: formatDuration(limit.perMs),
      },
      message: readsText(reads),
    },
    streams: {
      open: streams.open,
      wanted: streams.wanted,
      allowed: streams.allowed,
      refused_until: timeOrNull(streams.refusedUntil),
      doubted: streams.doubted,
      known_first: streams.known,
    },
  };
}
