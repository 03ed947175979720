import type { HttpAttempts, HttpResult } from '../http-attempt.ts';
import type { Channel } from './channel.ts';
import {
  answeredJson,
  createHttpChannel,
  secretWebhook,
  type SecretWebhook,
  type Verdict,
} from './http-channel.ts';
import {
  calledOwner,
  eventIdsText,
  markdownLink,
  oneLine,
  runsAndRest,
  titleOf,
  type Notice,
  type NoticeRun,
  type Tone,
} from './notice/notice.ts';

/**
 * Sends Adaptive Cards to a workflow of Teams, which posts them to its chat or channel. The URL is what
 * its trigger "When a Teams webhook request is received" gave; mentions are user principal names.
 * Source: https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook
 */
export function createTeamsChannel(webhook: SecretWebhook, http: HttpAttempts): Channel {
  return createHttpChannel({ ...secretWebhook(webhook, teamsMessage), verdictOn }, http);
}

/** A message of Teams has at most 28 KB; the card leaves some of it for what the workflow adds. */
const MOST_BYTES = 24_000;

const COLOURS: Readonly<Record<Tone, string>> = {
  bad: 'attention',
  attention: 'warning',
  good: 'good',
  neutral: 'default',
};

/** The message that a notice becomes in Teams; runs are not linked where that would make it too large. */
export function teamsMessage(notice: Notice, mentions: SecretWebhook['mentions'] = {}): object {
  const message = messageOf(cardOf(notice, mentions));
  if (Buffer.byteLength(JSON.stringify(message)) <= MOST_BYTES) return message;
  const runs = notice.runs.map(({ text }) => ({ text, url: null }));
  return messageOf(cardOf({ ...notice, runs, links: notice.links.slice(0, 2) }, mentions));
}

function messageOf(content: object): object {
  const contentType = 'application/vnd.microsoft.card.adaptive';
  return { type: 'message', attachments: [{ contentType, contentUrl: null, content }] };
}

/** Source: https://adaptivecards.io/explorer/ and, for mentions and width, the documentation of Teams. */
function cardOf(notice: Notice, mentions: SecretWebhook['mentions']): object {
  const title = oneLine(titleOf(notice), 250);
  const { owner, links } = notice;
  const mentioned = calledOwner(notice, mentions);
  const name = owner === null ? '' : oneLine(owner.replace(/^@/, ''), 60);
  return {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    fallbackText: title,
    body: [
      textBlock(escapeMarkdown(title), {
        size: 'medium',
        weight: 'bolder',
        color: COLOURS[notice.tone],
      }),
      ...(owner === null
        ? []
        : [textBlock(mentioned ? `<at>${name}</at>` : `Owner: ${escapeMarkdown(owner)}`)]),
      ...notice.lines.map((line) => textBlock(escapeMarkdown(line))),
      ...factSets(notice),
      ...runsBlocks(notice),
      textBlock(footerOf(notice), { size: 'small', isSubtle: true }),
    ],
    actions: links.slice(0, 5).map(({ label, url }) => ({
      type: 'Action.OpenUrl',
      title: oneLine(label, 60),
      url,
    })),
    msteams: {
      width: 'Full',
      ...(mentioned && { entities: [mentionOf(name, mentioned)] }),
    },
  };
}

function mentionOf(name: string, id: string): object {
  return { type: 'mention', text: `<at>${name}</at>`, mentioned: { id, name } };
}

function textBlock(text: string, style: object = {}): object {
  return { type: 'TextBlock', text, wrap: true, ...style };
}

function factSets({ facts }: Notice): object[] {
  if (facts.length === 0) return [];
  const shown = facts.slice(0, 10).map(([title, value]) => ({
    title: oneLine(title, 60),
    value: escapeMarkdown(oneLine(value, 300)),
  }));
  return [{ type: 'FactSet', facts: shown }];
}

/** A line of Markdown that begins with `- ` is an item of a list. */
function runsBlocks(notice: Notice): object[] {
  if (notice.runs.length === 0) return [];
  const listed = runsAndRest(notice).map((run) => `- ${runText(run)}`);
  return [textBlock(listed.join('\r'))];
}

function runText({ text, url }: NoticeRun): string {
  const shown = escapeMarkdown(oneLine(text, 200));
  return url === null ? shown : markdownLink(shown, url);
}

/** Teams shows the time in the zone of each reader; its functions take no fraction of a second. */
function footerOf(notice: Notice): string {
  const { at, isTest } = notice;
  const time = at.replace(/\.\d+Z$/, 'Z');
  const test = isTest ? 'A test of runwatch · ' : '';
  const ids = eventIdsText(notice);
  // An underscore within a word is no markup, and most ids have none elsewhere.
  const shown = ids.includes('~') ? escapeMarkdown(ids) : ids;
  return `${test}{{DATE(${time},SHORT)}} {{TIME(${time})}} · ${shown}`;
}

/** Of a function such as `{{DATE()}}` the second brace, of an entity such as `&lt;` the ampersand. */
const MARKUP = /[\\*_~`[\]<]|(?<=\{)\{|&(?=#?\w+;)/g;

function escapeMarkdown(text: string): string {
  return text.replaceAll(MARKUP, String.raw`\$&`);
}

/**
 * A workflow answers 202, or an error that has a code. One that is switched off may be switched on again.
 * Source: https://learn.microsoft.com/azure/logic-apps/logic-apps-http-endpoint (answers of the trigger)
 */
function verdictOn(result: HttpResult, status: number): Verdict | null {
  const error = answeredJson(result)?.['error'];
  const { code = '', message: said = '' } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (typeof code !== 'string' || code === '' || !FINAL.has(status)) return null;
  const message = `Teams answered ${status} ${oneLine(code, 60)}: ${oneLine(String(said), 200)}`;
  if (code === 'WorkflowTriggerIsNotEnabled') return { kind: 'failed', message };
  return { kind: code === 'WorkflowNotFound' ? 'refused' : 'rejected', message };
}

const FINAL: ReadonlySet<number> = new Set([400, 401, 403, 404, 413]);
