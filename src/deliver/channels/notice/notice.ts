import type { WorkflowKey } from '../../../core/cadence/phase.ts';
import { withoutControls } from '../../../core/control-characters.ts';
import { valueOf } from '../../../core/records.ts';
import { lastPartOf } from '../../../core/run/short-id.ts';
import { isUuid } from '../../../core/run/snapshot.ts';
import type { SentEvent } from './sent-event.ts';

/** The tone of a message: something is broken, needs attention, is well again, or is mere information. */
export type Tone = 'bad' | 'attention' | 'good' | 'neutral';

export interface NoticeLink {
  label: string;
  url: string;
}

/** One of the runs that a message lists. */
export interface NoticeRun {
  text: string;
  url: string | null;
}

/** What one message says to people, in plain text, whatever service shows it. */
export interface Notice {
  /** A sentence without its full stop; its first 80 characters suffice on a lock screen. */
  title: string;
  tone: Tone;
  isTest: boolean;
  /** Sentences that explain the title. */
  lines: string[];
  facts: [name: string, value: string][];
  runs: NoticeRun[];
  /** How many runs are not listed, and a page that lists them. */
  unlisted: { count: number; url: string | null };
  links: NoticeLink[];
  /** The owner, as the configuration of rules and workflows names them. */
  owner: string | null;
  /** Whether the owner is called to it, rather than only named. */
  callsOwner: boolean;
  /** ISO 8601. */
  at: string;
  /** The ids of the events that it covers. */
  eventIds: string[];
}

/** Runs that a message about several lists. */
export const RUNS_LISTED = 5;

/** What messages call owners and sources. */
export interface Wording {
  /** The owner of a workflow, as the configuration names it; null where it names none. */
  ownerOf: (workflow: WorkflowKey) => string | null;
  /** The label of a source. */
  labelOf: (source: string) => string;
}

/** What every notice begins from. */
export function bareNotice({ id, timestamp, data }: SentEvent, title: string): Notice {
  return {
    title,
    tone: 'neutral',
    isTest: data.test === true,
    lines: [],
    facts: [],
    runs: [],
    unlisted: { count: 0, url: null },
    links: linksOf(data),
    owner: null,
    callsOwner: true,
    at: timestamp,
    eventIds: [id],
  };
}

function linksOf({ run_url: runUrl, watch_url: watchUrl }: SentEvent['data']): NoticeLink[] {
  return [
    ...(isLink(runUrl) ? [{ label: 'Open run', url: runUrl }] : []),
    ...(isLink(watchUrl) ? [{ label: 'Open in runwatch', url: watchUrl }] : []),
  ];
}

/** How the service names the owner, where the owner is called; null where the bare name is enough. */
export function calledOwner(
  { owner, callsOwner }: Notice,
  mentions: Readonly<Record<string, string>>,
): string | null {
  return owner === null || !callsOwner ? null : (valueOf(mentions, owner) ?? null);
}

/** The title as it is shown: a test is marked as one. */
export function titleOf({ title, isTest }: Notice): string {
  return isTest ? `[Test] ${title}` : title;
}

/** The runs that a message lists, and an entry for the others. */
export function runsAndRest({ runs, unlisted }: Pick<Notice, 'runs' | 'unlisted'>): NoticeRun[] {
  const { count, url } = unlisted;
  return count === 0 ? runs : [...runs, { text: `and ${count} more`, url }];
}

/**
 * The page of the dashboard that lists runs of a status, or all runs.
 * @param watchUrl the page of one run; without it the address of the dashboard is not known
 * @returns null where it is not known
 */
export function listUrl(
  watchUrl: string | null | undefined,
  status: string | null = null,
): string | null {
  const [, base] = /^(.+\/runs)\/[^/]+\/[^/]+$/.exec(watchUrl ?? '') ?? [];
  if (base === undefined) return null;
  return status === null ? base : `${base}?status=${encodeURIComponent(status)}`;
}

/** The id of the first event, and how many more there are. */
export function eventIdsText({ eventIds: [first = '', ...others] }: Notice): string {
  return others.length === 0 ? first : `${first} and ${others.length} more`;
}

/** Text of at most `most` characters on one line without control characters, never cut within a character. */
export function oneLine(text: string, most: number): string {
  const line = withoutControls(text.replaceAll(/\s+/g, ' ')).trim();
  if (line.length <= most) return line;
  let kept = '';
  for (const character of line) {
    if (kept.length + character.length > most - 1) break;
    kept += character;
  }
  return `${kept.trimEnd()}…`;
}

/** An id as people tell it apart: the first part of a UUID. */
export function shortId(id: string): string {
  return isUuid(id) ? id.slice(0, 8) : oneLine(id, 30);
}

/** The id of a run as people tell it apart: of `acme/shop/123` the last part. */
export function shortRunId(id: string): string {
  return shortId(lastPartOf(id));
}

/** `1 run`, `12 runs`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** A link in Markdown. A bracket would end the address early, and `encodeURIComponent` leaves it as it is. */
export function markdownLink(label: string, url: string): string {
  return `[${label}](${url.replaceAll('(', '%28').replaceAll(')', '%29')})`;
}

/** True for a URL that a message may link to. */
export function isLink(url: string | null | undefined): url is string {
  return (
    typeof url === 'string' &&
    /^https?:\/\/\S+$/i.test(url) &&
    url.length <= 2_000 &&
    URL.canParse(url)
  );
}
