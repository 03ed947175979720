import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Alert } from '../../core/alert/alert.ts';
import { mayRead } from '../auth.ts';
import { presentPage } from '../present.ts';
import { InvalidRequest, refusal } from '../problem.ts';
import { acknowledgeRequest } from '../schemas/acknowledgement.ts';
import {
  alertOrReceipt,
  alertPage,
  alertParams,
  alertQuery,
  alertSchema,
} from '../schemas/alert.ts';
import { BODY_PROBLEMS, COMMON_PROBLEMS, jsonAnswer, problemAnswer } from '../schemas/common.ts';
import type { AlertService } from '../services.ts';

const tags = ['Alerts'];

const listSchema = {
  tags,
  operationId: 'listAlerts',
  summary: 'List alerts, newest first',
  querystring: alertQuery,
  response: { 200: jsonAnswer('A page of alerts.', alertPage), ...COMMON_PROBLEMS },
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
    200: jsonAnswer('The alert is not acknowledged any more.', alertOrReceipt),
    ...ACKNOWLEDGED,
  },
};

/** Alerts, and acknowledging them. */
export const alertRoutes: FastifyPluginAsyncZod<{ alerts: AlertService }> = async (
  app,
  { alerts },
) => {
  app.get('/alerts', { schema: listSchema }, async ({ query }) => {
    const page = await alerts.list(query);
    return presentPage(page, (alert) => alerts.show(alert));
  });

  app.get('/alerts/:id', { schema: readSchema }, async ({ params }) => {
    const alert = await alerts.get(params.id);
    if (alert === null) throw unknownAlert(params.id);
    return alerts.show(alert);
  });

  app.post('/alerts/:id/acknowledge', { schema: acknowledgeSchema }, async (request, _reply) => {
    const { params, body, scopes } = request;
    const result = await alerts.acknowledge(params.id, body);
    if (result === 'past') {
      const message = 'expected a time that is still to come';
      throw new InvalidRequest([{ path: 'until', message }]);
    }
    return shown(settled(result, params.id), { alerts, mayRead: mayRead(scopes) });
  });

  app.delete('/alerts/:id/acknowledge', { schema: withdrawSchema }, async (request, _reply) => {
    const { params, scopes } = request;
    const result = await alerts.withdraw(params.id);
    return shown(settled(result, params.id), { alerts, mayRead: mayRead(scopes) });
  });
};

function shown(
  alert: Alert,
  { alerts, mayRead: isWhole }: { alerts: AlertService; mayRead: boolean },
) {
  return isWhole ? alerts.show(alert) : { id: alert.id, state: alert.state };
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
