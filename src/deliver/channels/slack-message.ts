import {
  calledOwner,
  eventIdsText,
  titleOf,
  type Notice,
  type NoticeLink,
  type NoticeRun,
  type Tone,
} from './notice/notice.ts';
import { oneLine } from './notice/text.ts';

/** Limits of Block Kit. Source: https://docs.slack.dev/reference/block-kit/blocks */
const MOST_IN_TEXT = 3_000;
const MOST_IN_FIELD = 2_000;
const MOST_FIELDS = 10;
const MOST_ACTIONS = 5;

const SIGNS: Readonly<Record<Tone, string>> = {
  bad: ':red_circle:',
  attention: ':warning:',
  good: ':white_check_mark:',
  neutral: ':information_source:',
};

/** Which user of Slack stands behind a name of the configuration, such as `@ana`. */
export type Mentions = Readonly<Record<string, string>>;

export interface SlackMessage {
  /** For notifications and screen readers, which do not show blocks. */
  text: string;
  blocks: object[];
  unfurl_links: false;
  unfurl_media: false;
}

/** The message that a notice becomes in Slack. */
export function slackMessage(notice: Notice, mentions: Mentions = {}): SlackMessage {
  const title = titleOf(notice);
  return {
    text: clip([title, ...notice.lines].join('. '), MOST_IN_TEXT),
    blocks: blocksOf(notice, title, mentions),
    // The links lead to pages behind a sign-in: previews of them are noise.
    unfurl_links: false,
    unfurl_media: false,
  };
}

function blocksOf(notice: Notice, title: string, mentions: Mentions): object[] {
  const { facts, runs, links, lines, owner } = notice;
  const head = [
    `${SIGNS[notice.tone]} *${bold(title)}*`,
    ...lines.map((line) => clip(line, 600)),
    ...(owner === null ? [] : [mentionOf(owner, calledOwner(notice, mentions))]),
  ];
  return [
    section(head.join('\n')),
    ...(facts.length === 0 ? [] : [fieldsBlock(facts)]),
    ...(runs.length === 0 ? [] : [section(runsText(runs, notice.unlisted))]),
    ...(links.length === 0 ? [] : [{ type: 'actions', elements: buttonsOf(links) }]),
    { type: 'context', elements: [markdown(contextText(notice))] },
  ];
}

function fieldsBlock(facts: Notice['facts']): object {
  const fields = facts
    .slice(0, MOST_FIELDS)
    .map(([name, value]) => markdown(`*${bold(name)}*\n${clip(value, MOST_IN_FIELD - 150)}`));
  return { type: 'section', fields };
}

/** Links are left off where they are so long that the text would be cut within one. */
function runsText(runs: readonly NoticeRun[], { count, url }: Notice['unlisted']): string {
  const linesWith = (isLinked: boolean) => [
    ...runs.map((run) => `• ${link(run.text, isLinked ? run.url : null)}`),
    ...(count === 0 ? [] : [link(`and ${count} more`, isLinked ? url : null)]),
  ];
  const linked = linesWith(true).join('\n');
  return linked.length <= MOST_IN_TEXT ? linked : linesWith(false).join('\n');
}

function buttonsOf(links: readonly NoticeLink[]): object[] {
  return links.slice(0, MOST_ACTIONS).map(({ label, url }, at) => ({
    type: 'button',
    text: { type: 'plain_text', text: oneLine(label, 75) },
    url,
    action_id: `open-${at}`,
  }));
}

function contextText(notice: Notice): string {
  const { at, isTest } = notice;
  const test = isTest ? 'This is a test by `runwatch endpoints test` · ' : '';
  return `${test}${dateText(at)} · ${escapeText(eventIdsText(notice))}`;
}

/** A time that Slack shows in the zone of each reader; what follows the bar is for other clients. */
function dateText(iso: string): string {
  const seconds = Math.floor(Date.parse(iso) / 1_000);
  if (!Number.isFinite(seconds)) return escapeText(iso);
  return `<!date^${seconds}^{date_short_pretty} at {time_secs}|${escapeText(iso)}>`;
}

/** A user, a user group, or one of `here` and `channel`; the bare name where nothing is configured. */
function mentionOf(owner: string, id: string | null): string {
  if (id === null) return `Owner: ${clip(owner, 100)}`;
  if (id === 'here' || id === 'channel') return `<!${id}>`;
  return id.startsWith('S') ? `<!subteam^${id}>` : `<@${id}>`;
}

/** A link with at most 250 characters of text; the bare text where there is no URL. */
function link(text: string, url: string | null): string {
  const shown = clip(text.replaceAll('|', '¦'), 250);
  if (url === null) return shown;
  const target = url.replaceAll(/[|<>]/g, encodeURIComponent);
  return `<${escapeText(target)}|${shown}>`;
}

function section(text: string): object {
  return { type: 'section', text: markdown(text) };
}

/** `verbatim` keeps Slack from turning plain text into links. */
function markdown(text: string): object {
  return { type: 'mrkdwn', text, verbatim: true };
}

/** Text between asterisks, which none may end early: Slack has no escape for them. */
function bold(text: string): string {
  return clip(oneLine(text, 250).replaceAll('*', '∗'), 1_000);
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

/**
 * The three characters by which Slack marks links, mentions and entities.
 * Source: https://docs.slack.dev/messaging/formatting-message-text#escaping
 */
export function escapeText(text: string): string {
  return text.replaceAll(/[&<>]/g, (character) => ENTITIES[character] ?? character);
}

/** Escaped text of at most `most` characters, never cut within an entity or a character. */
export function clip(text: string, most: number): string {
  const escaped = escapeText(text);
  if (escaped.length <= most) return escaped;
  let kept = '';
  for (const character of text) {
    const next = escapeText(character);
    if (kept.length + next.length > most - 1) break;
    kept += next;
  }
  return `${kept}…`;
}
