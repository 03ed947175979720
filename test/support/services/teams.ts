import { z } from 'zod';
import { createTeamsChannel } from '../../../src/deliver/channels/teams.ts';
import {
  problemsOf,
  SENDING,
  startReceiver,
  type EndpointModel,
  type Receiver,
  type ServiceAnswer,
  type ServiceRules,
} from './service.ts';

export const TEAMS_PATH = '/workflows/a?sig=secret-of-teams';

const MOST_BYTES = 28 * 1_024;

const text = z.string().refine((one) => one.trim() !== '', 'is required');

const textBlock = z.strictObject({
  type: z.literal('TextBlock'),
  text,
  wrap: z.boolean().optional(),
  size: z.enum(['default', 'small', 'medium', 'large', 'extraLarge']).optional(),
  weight: z.enum(['default', 'lighter', 'bolder']).optional(),
  color: z.enum(['default', 'dark', 'light', 'accent', 'good', 'warning', 'attention']).optional(),
  isSubtle: z.boolean().optional(),
});

const factSet = z.strictObject({
  type: z.literal('FactSet'),
  facts: z.array(z.strictObject({ title: text, value: text })).min(1),
});

const openUrl = z.strictObject({
  type: z.literal('Action.OpenUrl'),
  title: text,
  url: z.url({ protocol: /^https?$/ }),
});

const mention = z.strictObject({
  type: z.literal('mention'),
  text: z.string().regex(/^<at>[^<>]+<\/at>$/),
  mentioned: z.strictObject({ id: text, name: text }),
});

const card = z
  .strictObject({
    $schema: z.literal('http://adaptivecards.io/schemas/adaptive-card.json'),
    type: z.literal('AdaptiveCard'),
    version: z.enum(['1.0', '1.1', '1.2', '1.3', '1.4', '1.5']),
    fallbackText: text,
    body: z.array(z.discriminatedUnion('type', [textBlock, factSet])).min(1),
    actions: z.array(openUrl).max(6),
    msteams: z.strictObject({
      width: z.literal('Full'),
      entities: z.array(mention).optional(),
    }),
  })
  .refine(
    ({ body, msteams }) =>
      (msteams.entities ?? []).every((entity) =>
        body.some((part) => part.type === 'TextBlock' && part.text.includes(entity.text)),
      ),
    'a mention needs its text in the body',
  );

const message = z.strictObject({
  type: z.literal('message'),
  attachments: z
    .array(
      z.strictObject({
        contentType: z.literal('application/vnd.microsoft.card.adaptive'),
        contentUrl: z.null(),
        content: card,
      }),
    )
    .length(1),
});

/**
 * A workflow of Teams, which refuses at once what it could not post.
 * Source: https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
 * (28 KB), https://adaptivecards.io/explorer/ and
 * https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format (mentions)
 */
export const TEAMS: ServiceRules = {
  refuse({ path, body }) {
    if (path !== TEAMS_PATH) return refusal(404, 'WorkflowNotFound', path);
    if (Buffer.byteLength(JSON.stringify(body)) > MOST_BYTES) {
      return refusal(413, 'RequestEntityTooLarge', `more than ${MOST_BYTES} bytes`);
    }
    const problems = problemsOf(message, body);
    return problems === null ? null : refusal(400, 'TriggerInputSchemaMismatch', problems);
  },
  take: () => ({ status: 202 }),
};

function refusal(status: number, code: string, why: string) {
  return { why, status, body: { error: { code, message: why } } };
}

const REJECTION = {
  status: 400,
  body: { error: { code: 'InvalidRequestContent', message: 'no card' } },
};

/** Teams, with the answer by which it rejects a message. */
export function startTeams(rejection: ServiceAnswer = REJECTION): Promise<Receiver> {
  const mentions = { '@ana': 'ana@example.com' };
  return startReceiver(TEAMS, rejection, ({ url, http }) =>
    createTeamsChannel({ url: url + TEAMS_PATH, mentions, ...SENDING }, http),
  );
}

export const MODEL: EndpointModel = {
  configured: {
    Teams: {
      settings: ({ http }) => ({ url: `${http}/workflows/a?sig=canary` }),
      arrives: { url: ['/workflows/a?sig=canary', 'path'] },
    },
  },
  receivers: { Teams: () => startTeams() },
};
