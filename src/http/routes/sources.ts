import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { TokenConfig } from '../../config/schema.ts';
import { isoTime } from '../../core/event/event.ts';
import { overdueText } from '../../core/source/overdue.ts';
import { readsText } from '../../core/source/read-times.ts';
import { inconsistentMessage } from '../../core/source/consistency.ts';
import { formatDuration } from '../../core/time.ts';
import { LIMITED, mayConcern } from '../auth.ts';
import { timeOrNull } from '../present.ts';
import type { SourceService, SourceView } from '../sources.ts';
import { refusal } from '../problem.ts';
import { COMMON_PROBLEMS, jsonAnswer, problemAnswer } from '../schemas/common.ts';
import { sourceList, sourceParams, sourceSchema } from '../schemas/source.ts';

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
