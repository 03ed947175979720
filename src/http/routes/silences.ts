import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { isoTime } from '../../core/event/event.ts';
import type { Matchers } from '../../core/alert/silence.ts';
import type { TokenConfig } from '../../config/schema.ts';
import { LIMITED, LIMITED_HEAVY, mayConcern, mayRead, sourcesMeant, sourcesOf } from '../auth.ts';
import { InvalidRequest, refusal } from '../problem.ts';
import { BODY_PROBLEMS, COMMON_PROBLEMS, jsonAnswer, problemAnswer } from '../schemas/common.ts';
import {
  previewRequest,
  silenceList,
  silenceOrReceipt,
  silenceParams,
  silencePreview,
  silenceRequest,
} from '../schemas/silence.ts';
import type { AlertService } from '../alerts.ts';
import type { SilenceService, SilenceView } from '../silences.ts';

/** Previews show what others gave. */
const READ = { scope: 'read' as const };

const tags = ['Silences'];

const addSchema = {
  tags,
  operationId: 'addSilence',
  summary: 'Silence notifications for a while',
  description:
    'What it matches is recorded and counted, and not notified of. A token that may not read gets a receipt.',
  body: silenceRequest,
  response: {
    200: jsonAnswer('There is a silence with this key.', silenceOrReceipt),
    201: jsonAnswer('The silence.', silenceOrReceipt),
    ...BODY_PROBLEMS,
    ...COMMON_PROBLEMS,
    409: problemAnswer('There are 1,000 silences.'),
  },
};

const listSchema = {
  tags,
  operationId: 'listSilences',
  summary: 'List silences: in force, to come, expired',
  response: { 200: jsonAnswer('All silences.', silenceList), ...COMMON_PROBLEMS },
};

const expireSchema = {
  tags,
  operationId: 'expireSilence',
  summary: 'End a silence now',
  params: silenceParams,
  response: {
    204: z.undefined().describe('It is over.'),
    ...COMMON_PROBLEMS,
    404: problemAnswer('There is no such silence.'),
  },
};

const previewSchema = {
  tags,
  operationId: 'previewSilence',
  summary: 'Show what a silence would match',
  body: previewRequest,
  response: {
    200: jsonAnswer('What it matches now and in the last 24 hours.', silencePreview),
    ...BODY_PROBLEMS,
    ...COMMON_PROBLEMS,
  },
};

interface SilenceOptions {
  silences: SilenceService;
  alerts: AlertService;
}

/** Silences. */
export const silenceRoutes: FastifyPluginAsyncZod<SilenceOptions> = async (
  app,
  { silences, alerts },
) => {
  app.post('/silences', { schema: addSchema, config: LIMITED }, async (request, reply) => {
    const { body, token } = request;
    const { matchers, until, starts_at: startsAt, key, ...by } = body;
    const added = await silences.add({
      ...by,
      matchers: withinSources(token, matchersOf(matchers)),
      until,
      ...(startsAt !== undefined && { startsAt }),
      ...(key !== undefined && { key }),
      ...(token !== null && { token: token.name }),
      sources: sourcesOf(token),
    });
    if (added === 'past') {
      const message = 'expected a time that is still to come, after starts_at';
      throw new InvalidRequest([{ path: 'until', message }]);
    }
    if (added === 'far') {
      const message = 'expected a time within 365 days';
      throw new InvalidRequest([{ path: 'until', message }]);
    }
    if (added === 'full') {
      throw refusal(
        'too_many_silences',
        'there are 1,000 silences that have not expired; end some',
      );
    }
    if (added === 'share') {
      const detail = `the token "${token?.name}" has 250 silences that have not expired, the most that one may have; end some`;
      throw refusal('too_many_silences', detail);
    }
    reply.code(added.isNew ? 201 : 200);
    const { silence } = added;
    return mayRead(token) ? presentSilence(silence) : { id: silence.id, state: silence.state };
  });

  app.get('/silences', { schema: listSchema, config: LIMITED_HEAVY }, async ({ token }) => {
    const all = await silences.list();
    return { data: all.filter((one) => isOf(token, one)).map(presentSilence) };
  });

  app.delete('/silences/:id', { schema: expireSchema, config: LIMITED }, async (request, reply) => {
    const { params, token } = request;
    const isKnown =
      (await isMeant(params.id, { token, silences })) && (await silences.expire(params.id));
    if (!isKnown) throw refusal('silence_not_found', `there is no silence ${params.id}`);
    reply.code(204);
  });

  const previewRoute = { schema: previewSchema, config: { ...READ, ...LIMITED_HEAVY } };
  app.post('/silences/preview', previewRoute, async ({ body, token }) => {
    const found = await silences.preview(withinSources(token, matchersOf(body.matchers)));
    const { count: events, byRule, byType } = found.events;
    return {
      now: { alerts: await alerts.showAll(found.alerts, sourcesOf(token)) },
      last_24h: { events, by_rule: byRule, by_type: byType },
    };
  });
};

/** A silence of a token that is limited to sources matches nothing of others. */
function withinSources(token: TokenConfig | null, matchers: Matchers): Matchers {
  const allowed = sourcesOf(token);
  if (allowed === undefined) return matchers;
  for (const source of matchers.source ?? []) sourcesMeant(token, source);
  return { ...matchers, source: matchers.source ?? [...allowed] };
}

function isOf(token: TokenConfig | null, { matchers }: SilenceView): boolean {
  if (sourcesOf(token) === undefined) return true;
  return matchers.source?.every((source) => mayConcern(token, source)) ?? false;
}

async function isMeant(
  id: string,
  { token, silences }: { token: TokenConfig | null; silences: SilenceService },
): Promise<boolean> {
  if (sourcesOf(token) === undefined) return true;
  return (await silences.list()).some((one) => one.id === id && isOf(token, one));
}

function matchersOf(given: z.output<typeof silenceRequest>['matchers']): Matchers {
  const { workflow_id: workflowId, ...others } = given;
  return { ...others, ...(workflowId !== undefined && { workflowId }) };
}

function presentSilence(silence: SilenceView) {
  const { workflowId, rule, source, event, metadata } = silence.matchers;
  return {
    id: silence.id,
    matchers: {
      ...(rule !== undefined && { rule: [...rule] }),
      ...(workflowId !== undefined && { workflow_id: [...workflowId] }),
      ...(source !== undefined && { source: [...source] }),
      ...(event !== undefined && { event: [...event] }),
      ...(metadata !== undefined && { metadata: listsOf(metadata) }),
    },
    starts_at: isoTime(silence.startsAt),
    until: isoTime(silence.until),
    state: silence.state,
    by: silence.by,
    comment: silence.comment,
    key: silence.key,
    created_at: isoTime(silence.createdAt),
  };
}

function listsOf(metadata: NonNullable<Matchers['metadata']>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(metadata).map(([key, values]) => [key, [...values]]));
}
