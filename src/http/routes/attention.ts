import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { sum } from '../../core/arrays.ts';
import type { AttentionItem } from '../../core/attention.ts';
import type { Complete } from '../../core/records.ts';
import { isoTime } from '../../core/event/event.ts';
import type { Attention, AttentionQuery, AttentionService } from '../attention.ts';
import { LIMITED_HEAVY, sourcesOf } from '../auth.ts';
import { shownSuppressor } from '../../alert/event.ts';
import { presentAcknowledgement } from '../present.ts';
import { attentionPage, attentionQuery } from '../schemas/attention.ts';
import { COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';

const listSchema = {
  tags: ['Attention'],
  operationId: 'listAttention',
  summary: 'List what needs a person, oldest first',
  description:
    'What a user has acknowledged is left out, as are alerts that a silence, a mute or another alert suppresses. Deliveries count by endpoint. Nothing ends a run that is gone, or a dead delivery: these are named for a week. A token for some sources sees what is of these.',
  querystring: attentionQuery,
  response: { 200: jsonAnswer('What needs a person.', attentionPage), ...COMMON_PROBLEMS },
};

/** What needs a person. */
export const attentionRoute: FastifyPluginAsyncZod<{ attention: AttentionService }> = async (
  app,
  { attention },
) => {
  app.get('/attention', { schema: listSchema, config: LIMITED_HEAVY }, async ({ query, token }) => {
    const { acknowledged, ...rest } = query;
    rest satisfies Record<string, never>;
    const meant: Complete<AttentionQuery> = {
      withAcknowledged: acknowledged === 'include',
      sources: sourcesOf(token),
    };
    return presentAttention(await attention.list(meant));
  });
};

/** What needs a person as the API shows it. */
function presentAttention({ items, counts, isCapped }: Attention): z.output<typeof attentionPage> {
  const total = sum(Object.values(counts));
  return { data: items.map(presentItem), counts, total, total_capped: isCapped };
}

type AttentionJson = z.output<typeof attentionPage>['data'][number];

function presentItem(item: AttentionItem): AttentionJson {
  const { kind, since, message, source, endpoint, count, rule, severity } = item;
  const given = {
    kind,
    since: isoTime(since),
    message,
    run_id: item.runId,
    source,
    workflow_id: item.workflowId,
    workflow_name: item.workflowName,
    run_url: item.runUrl,
    endpoint,
    count,
    alert_id: item.alertId,
    rule,
    severity,
    acknowledged: item.acknowledged && presentAcknowledgement(item.acknowledged),
    suppressed_by: item.suppressedBy?.map(shownSuppressor),
  };
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as AttentionJson;
}
