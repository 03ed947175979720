import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type Alert, noCounts, type AlertCounts } from '../../core/alert/alert.ts';
import type { Complete } from '../../core/records.ts';
import type { TokenConfig } from '../../config/schema.ts';
import { LIMITED, LIMITED_HEAVY, mayConcern, mayRead, sourcesMeant, sourcesOf } from '../auth.ts';
import { InvalidRequest, refusal } from '../problem.ts';
import {
  acknowledgeRequest,
  BODY_PROBLEMS,
  COMMON_PROBLEMS,
  CURSOR_PROBLEMS,
  jsonAnswer,
  problemAnswer,
  resolveRequest,
} from '../schemas/common.ts';
import {
  alertOrReceipt,
  alertPage,
  alertParams,
  alertQuery,
  alertSchema,
  rehearsal,
  rehearseRequest,
} from '../schemas/alert.ts';
import type { AlertListQuery, AlertService, RuleService } from '../alerts.ts';
import { isoTime } from '../../core/event/event.ts';

const tags = ['Alerts'];

const listSchema = {
  tags,
  operationId: 'listAlerts',
  summary: 'List alerts, newest first',
  querystring: alertQuery,
  response: {
    200: jsonAnswer('A page of alerts.', alertPage),
    ...COMMON_PROBLEMS,
    ...CURSOR_PROBLEMS,
  },
};

const ONE = {
  tags,
  params: alertParams,
};

const UNKNOWN = { 404: problemAnswer('There is no such alert.') };

const readSchema = {
  ...ONE,
  operationId: 'getAlert',
  summary: 'Show one alert',
  response: { 200: jsonAnswer('The alert.', alertSchema), ...COMMON_PROBLEMS, ...UNKNOWN },
};

const ACKNOWLEDGED = {
  ...COMMON_PROBLEMS,
  ...UNKNOWN,
  409: problemAnswer('The alert has resolved, or its rule is configured no more.'),
};

const acknowledgeSchema = {
  ...ONE,
  operationId: 'acknowledgeAlert',
  summary: 'Say that an alert is taken in hand',
  description:
    'There are no reminders, updates and no escalation until it resolves, or until the time that is given. A token that may not read gets a receipt.',
  body: acknowledgeRequest,
  response: {
    200: jsonAnswer('The alert is acknowledged.', alertOrReceipt),
    ...BODY_PROBLEMS,
    ...ACKNOWLEDGED,
  },
};

const withdrawSchema = {
  ...ONE,
  operationId: 'unacknowledgeAlert',
  summary: 'Take back that an alert is taken in hand',
  response: {
    204: z.undefined().describe('The alert is not acknowledged any more.'),
    ...ACKNOWLEDGED,
  },
};

const resolveSchema = {
  ...ONE,
  operationId: 'resolveAlert',
  summary: 'End an alert by hand',
  description:
    'Its end is notified as any end is; of an alert that nobody was notified of, nothing is sent. Where the cause goes on, the next event that meets the rule opens another alert. One that has resolved stays as it is. A token that may not read gets a receipt.',
  body: resolveRequest,
  response: {
    200: jsonAnswer('The alert has resolved, now or before.', alertOrReceipt),
    ...BODY_PROBLEMS,
    ...COMMON_PROBLEMS,
    ...UNKNOWN,
  },
};

/** Alerts, acknowledging and ending them. */
export const alertRoutes: FastifyPluginAsyncZod<{ alerts: AlertService }> = async (
  app,
  { alerts },
) => {
  app.get('/alerts', { schema: listSchema, config: LIMITED_HEAVY }, async ({ query, token }) => {
    const { items, nextCursor } = await alerts.list(insideOf(query, token));
    return { data: await alerts.showAll(items, sourcesOf(token)), next_cursor: nextCursor };
  });

  app.get('/alerts/:id', { schema: readSchema, config: LIMITED }, async ({ params, token }) => {
    const alert = await alerts.get(params.id);
    if (alert === null || !isOf(token, alert)) throw unknownAlert(params.id);
    return alerts.show(alert, sourcesOf(token));
  });

  const acknowledgeRoute = { schema: acknowledgeSchema, config: LIMITED };
  app.post('/alerts/:id/acknowledge', acknowledgeRoute, async (request, _reply) => {
    const { params, body, token } = request;
    await refuseOthers(params.id, { token, alerts });
    const result = await alerts.acknowledge(params.id, body);
    if (result === 'past') {
      const message = 'expected a time that is still to come';
      throw new InvalidRequest([{ path: 'until', message }]);
    }
    return shownOrReceipt(settled(result, params.id), { token, alerts });
  });

  const withdrawRoute = { schema: withdrawSchema, config: LIMITED };
  app.delete('/alerts/:id/acknowledge', withdrawRoute, async ({ params, token }, reply) => {
    await refuseOthers(params.id, { token, alerts });
    settled(await alerts.withdraw(params.id), params.id);
    reply.code(204);
  });

  const resolveRoute = { schema: resolveSchema, config: LIMITED };
  app.post('/alerts/:id/resolve', resolveRoute, async ({ params, body, token }) => {
    await refuseOthers(params.id, { token, alerts });
    const alert = await alerts.resolve(params.id, body);
    if (alert === null) throw unknownAlert(params.id);
    return shownOrReceipt(alert, { token, alerts });
  });
};

/** A query in the words of the inside, all of it. */
function insideOf(
  { state, rule, limit, cursor, ...rest }: z.output<typeof alertQuery>,
  token: TokenConfig | null,
): Complete<AlertListQuery> {
  rest satisfies Record<string, never>;
  return { state, rule, sources: sourcesMeant(token).sources, limit, cursor };
}

/** The alert, or for a token that may not read a receipt. */
async function shownOrReceipt(alert: Alert, { token, alerts }: Asked) {
  if (!mayRead(token)) return { id: alert.id, state: alert.state };
  return alerts.show(alert, sourcesOf(token));
}

interface Asked {
  token: TokenConfig | null;
  alerts: AlertService;
}

/** An alert that its rule does not group by source may be of any. */
function isOf(token: TokenConfig | null, { labels }: Alert): boolean {
  return mayConcern(token, labels['source'] ?? '');
}

async function refuseOthers(id: string, { token, alerts }: Asked): Promise<void> {
  if (sourcesOf(token) === undefined) return;
  const alert = await alerts.get(id);
  if (alert === null || !isOf(token, alert)) throw unknownAlert(id);
}

function settled(result: Alert | 'not_found' | 'over' | 'unconfigured', id: string): Alert {
  if (result === 'not_found') throw unknownAlert(id);
  if (result === 'over') throw refusal('alert_over', `the alert ${id} has resolved`);
  if (result === 'unconfigured') {
    throw refusal('alert_over', `the rule of the alert ${id} is configured no more`);
  }
  return result;
}

function unknownAlert(id: string) {
  return refusal('alert_not_found', `there is no alert ${id}`);
}

const DAY_MS = 86_400_000;

/** It changes nothing, and goes through many events. */
const HEAVY_READ = { scope: 'read' as const, isHeavy: true };

const testSchema = {
  tags: ['Alerts'],
  operationId: 'testRules',
  summary: 'Show what rules would have sent for stored events',
  description:
    'Nothing is sent and nothing changes. Silences and acknowledgements do not count. Each section that is given stands in for that of the configuration. Absence counts from the events before, as if runwatch had been up ever since; deadlines are those of runs that ended in that time or go on. What was not rehearsed says so.',
  body: rehearseRequest,
  response: {
    200: jsonAnswer('What would have been sent.', rehearsal),
    ...BODY_PROBLEMS,
    ...COMMON_PROBLEMS,
  },
};

/** Trying rules. */
export const ruleRoutes: FastifyPluginAsyncZod<{ rules: RuleService }> = async (app, { rules }) => {
  app.post('/rules/test', { schema: testSchema, config: HEAVY_READ }, async ({ body }) => {
    const { since: given = { agoMs: DAY_MS }, ...sections } = body;
    const found = await rules.rehearse(given, sections);
    if ('problems' in found) {
      throw new InvalidRequest(
        found.problems.map(({ path, message }) => ({ path: path.join('.'), message })),
      );
    }
    const { since, until, events, notifications, counts, limits, isCapped } = found;
    const sent = (rule: string) => notifications.filter(({ alert }) => alert.rule === rule).length;
    return {
      since: isoTime(since),
      until: isoTime(until),
      events,
      rules: found.names.map((rule) =>
        presentRule(rule, {
          counts: counts.get(rule) ?? noCounts(),
          notifications: sent(rule),
          limit: limits.get(rule) ?? null,
        }),
      ),
      notifications: notifications.map(({ at, kind, alert, isRepeat, notify }) => ({
        at: isoTime(at),
        type: `alert.${kind}` as const,
        rule: alert.rule,
        labels: alert.labels,
        count: alert.count,
        repeat: isRepeat,
        alert_id: alert.id,
        notify: [...notify],
      })),
      truncated: isCapped,
    };
  });
};

function presentRule(
  rule: string,
  { counts, notifications, limit }: RehearsedRule,
): z.output<typeof rehearsal>['rules'][number] {
  const { observed: matched, notified, waiting } = counts;
  const { grouped, muted, silenced, inhibited, acknowledged } = counts;
  const suppressed = { grouped, muted, silenced, inhibited, acknowledged };
  return { rule, matched, notified, waiting, suppressed, notifications, not_rehearsed: limit };
}

interface RehearsedRule {
  counts: AlertCounts;
  notifications: number;
  /** What was not rehearsed, and why. */
  limit: string | null;
}
