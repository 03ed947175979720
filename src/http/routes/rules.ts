import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { noCounts, type AlertCounts } from '../../core/alert/alert.ts';
import { isoTime } from '../../core/event/event.ts';
import { rehearsal, rehearseRequest } from '../schemas/alert.ts';
import { BODY_PROBLEMS, COMMON_PROBLEMS, jsonAnswer } from '../schemas/common.ts';
import type { RuleService } from '../services.ts';

const DAY_MS = 86_400_000;

/** It changes nothing. */
const READ = { scope: 'read' as const };

const testSchema = {
  tags: ['Alerts'],
  operationId: 'testRules',
  summary: 'Show what the rules would have sent for stored events',
  description: 'Nothing is sent and nothing changes. Silences and acknowledgements do not count.',
  body: rehearseRequest,
  response: {
    200: jsonAnswer('What would have been sent.', rehearsal),
    ...BODY_PROBLEMS,
    ...COMMON_PROBLEMS,
  },
};

/** Trying rules. */
export const ruleRoutes: FastifyPluginAsyncZod<{ rules: RuleService }> = async (app, { rules }) => {
  app.post('/rules/test', { schema: testSchema, config: READ }, async ({ body }) => {
    const { since, until, events, notifications, counts, isCapped } = await rules.rehearse(
      body.since ?? { agoMs: DAY_MS },
    );
    const sent = (rule: string) => notifications.filter(({ alert }) => alert.rule === rule).length;
    return {
      since: isoTime(since),
      until: isoTime(until),
      events,
      rules: rules
        .names()
        .map((rule) => presentRule(rule, counts.get(rule) ?? noCounts(), sent(rule))),
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

function presentRule(rule: string, counts: AlertCounts, notifications: number) {
  const { observed: matched, notified, waiting } = counts;
  const { grouped, muted, silenced, inhibited, acknowledged } = counts;
  const suppressed = { grouped, muted, silenced, inhibited, acknowledged };
  return { rule, matched, notified, waiting, suppressed, notifications };
}
