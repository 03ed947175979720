import { createHash } from 'node:crypto';
import { withoutEndSlash } from '../../core/end-slash.ts';
import { TEST_EVENT_TYPE } from '../../core/event/event.ts';
import type { HttpAttempts, HttpResult } from '../http-attempt.ts';
import type { Channel } from './channel.ts';
import { answeredJson, sendJson, shownHeadersOf, type Verdict } from './http-channel.ts';
import { noticeOf } from './notice/describe.ts';
import { isLink, oneLine, titleOf, type Notice, type Tone, type Wording } from './notice/notice.ts';
import { parseEvent, type SentEvent } from './notice/sent-event.ts';

interface PagerDutyService {
  /** The integration key of a service. */
  routingKey: string;
  /** Where the Events API is. */
  apiUrl: string;
  wording?: Wording;
  timeoutMs: number;
}

/**
 * Triggers, acknowledges and resolves alerts of PagerDuty by its Events API v2.
 * Source: https://developer.pagerduty.com/docs/events-api-v2-overview
 */
export function createPagerDutyChannel(
  { routingKey, apiUrl, wording, timeoutMs }: PagerDutyService,
  http: HttpAttempts,
): Channel {
  const url = new URL(`${withoutEndSlash(apiUrl)}/v2/enqueue`);
  const service = { url, confidential: [routingKey], timeoutMs, verdictOn };
  return {
    async send(message, signal, mayStart) {
      const event = parseEvent(message.body);
      const enqueue = async (one: PagerDutyEvent) => {
        const body = { routing_key: routingKey, ...one };
        return (await sendJson(service, { body, signal, mayStart }, http)).outcome;
      };
      const outcome = await enqueue(pagerDutyEvent(event, wording));
      // A test leaves nothing open.
      if (event.type === TEST_EVENT_TYPE && outcome.kind === 'delivered') {
        await enqueue({ event_action: 'resolve', dedup_key: dedupKeyOf(event) });
      }
      return outcome;
    },
    shownHeaders: () => shownHeadersOf(service, http),
  };
}

interface PagerDutyEvent {
  event_action: 'trigger' | 'acknowledge' | 'resolve';
  dedup_key: string;
  payload?: object;
  links?: object[];
  client?: string;
  client_url?: string;
}

/** Limits of the Events API. */
const MOST_IN_SUMMARY = 1_024;
const MOST_IN_KEY = 255;

/** What is sent to PagerDuty of an event. */
function pagerDutyEvent(event: SentEvent, wording?: Wording): PagerDutyEvent {
  const notice = noticeOf([event], wording);
  const { alert, watch_url: watchUrl, batch_url: batchUrl } = event.data;
  const page = alert?.url ?? watchUrl ?? batchUrl;
  return {
    event_action: actionOf(event, notice),
    dedup_key: dedupKeyOf(event),
    payload: payloadOf(event, notice, wording),
    links: notice.links.map(({ label, url }) => ({ href: url, text: label })),
    client: 'runwatch',
    ...(isLink(page) && { client_url: page }),
  };
}

function payloadOf({ type, data }: SentEvent, notice: Notice, wording?: Wording): object {
  const { alert, run } = data;
  const workflowId = alert?.labels['workflow_id'] ?? run?.workflow_id ?? data.workflow_id;
  return {
    summary: oneLine(titleOf(notice), MOST_IN_SUMMARY),
    source: sourceOf(data, wording),
    severity: notice.isTest ? 'info' : severityOf(alert?.severity, notice.tone),
    timestamp: notice.at,
    component: data.workflow_name ?? alert?.rule ?? 'runwatch',
    ...(workflowId && { group: workflowId }),
    class: type,
    custom_details: detailsOf(notice),
  };
}

/** What ended ends the alert; what is only said is one of its own, for a person to close. */
function actionOf({ type }: SentEvent, { tone }: Notice): PagerDutyEvent['event_action'] {
  if (type === 'alert.acknowledged') return 'acknowledge';
  return tone === 'good' ? 'resolve' : 'trigger';
}

/**
 * One alert of runwatch is one of PagerDuty; without rules, one run is, and one subject of events about
 * runwatch itself. What goes together has one key: a run that stalls, and goes on.
 */
export function dedupKeyOf({ id, type, data }: SentEvent): string {
  const { alert, watch, run_id: runId, endpoint, source, workflow_id: workflow, digest } = data;
  // Nothing resolves the notice of waits: a person does.
  if (type === TEST_EVENT_TYPE || type === 'discovery.waiting' || digest) return id;
  if (alert !== undefined) return alert.id;
  if (data.batch_id !== undefined) return fittingKey(`runwatch/batch/${data.batch_id}`);
  if (runId !== undefined) return fittingKey(`runwatch/run/${watch?.source ?? 'default'}/${runId}`);
  const family = type.slice(0, type.indexOf('.'));
  const about = endpoint ?? source ?? 'all';
  const subject = workflow === undefined ? about : `${about}/${workflow}`;
  return fittingKey(`runwatch/${family}/${subject}`);
}

/** A key that is too long is a hash of it: cut off, it could be another one's. */
function fittingKey(key: string): string {
  if (key.length <= MOST_IN_KEY) return key;
  return `runwatch/sha256/${createHash('sha256').update(key).digest('hex')}`;
}

function sourceOf({ alert, watch, source }: SentEvent['data'], wording?: Wording): string {
  const name = alert?.labels['source'] ?? watch?.source ?? source;
  if (name === undefined) return 'runwatch';
  const label = wording?.labelOf(name) ?? name;
  return label === name ? `source ${oneLine(name, 200)}` : oneLine(`${label} source ${name}`, 200);
}

const SEVERITIES: ReadonlySet<string> = new Set(['critical', 'error', 'warning', 'info']);

const BY_TONE: Readonly<Record<Tone, string>> = {
  bad: 'error',
  attention: 'warning',
  good: 'info',
  neutral: 'info',
};

function severityOf(given: string | undefined, tone: Tone): string {
  return given !== undefined && SEVERITIES.has(given) ? given : BY_TONE[tone];
}

function detailsOf({ lines, facts, runs, unlisted, owner }: Notice): Record<string, unknown> {
  return {
    ...Object.fromEntries(facts),
    ...(lines.length > 0 && { Details: lines.join('\n') }),
    ...(owner !== null && { Owner: owner }),
    ...(runs.length > 0 && { Runs: runs.map(({ text, url }) => (url ? `${text}: ${url}` : text)) }),
    ...(unlisted.count > 0 && { 'Further runs': unlisted.count }),
  };
}

/**
 * 202 takes the event; 400 refuses it for good; 429 and 5xx ask to send it again later.
 * Source: https://developer.pagerduty.com/docs/events-api-v2-overview#response-codes--retry-logic
 */
function verdictOn(result: HttpResult, status: number): Verdict | null {
  if (status !== 400) return null;
  const body = answeredJson(result);
  const errors = Array.isArray(body?.['errors']) ? body['errors'].join('; ') : '';
  const why = oneLine([body?.['message'], errors].filter(Boolean).join(': '), 300);
  return { kind: 'rejected', message: `PagerDuty answered 400: ${why || 'no reason'}` };
}
