import { isTerminalStatus } from '../core/run/snapshot.ts';
import type { Fault } from './fault.ts';
import type { Answer } from './http-io.ts';
import { PRIVATE_CANARY } from './wire-run.ts';

const ANOTHER_ID = '00000000-0000-4000-8000-000000000000';

/** A page as proxies and load balancers send it; error pages have been known to quote requests. */
const HTML_PAGE = `<!doctype html><title>Bad Gateway</title><h1>Bad Gateway</h1><!-- ${PRIVATE_CANARY} -->`;

/** The request that gets a wrong answer. */
export interface Exchange {
  /** Makes the answer that would have been given; asked for as late as possible. */
  answer: () => Answer;
  /** Null for everything but the read of a run. */
  runId: string | null;
  now: () => number;
}

const WRONG_ANSWERS = [
  'status',
  'html',
  'truncated',
  'other_run',
  'wrong_shape',
  'claim',
  'shift',
  'lag',
] as const;

type WrongAnswer = Extract<Fault, { kind: (typeof WRONG_ANSWERS)[number] }>;

/** True for faults of what is said, false for those of how it is said. */
export function isWrongAnswer(fault: Fault): fault is WrongAnswer {
  return WRONG_ANSWERS.some((kind) => kind === fault.kind);
}

/** The answer that a fault gives in place of the right one. */
export function wrongAnswer(exchange: Exchange, fault: WrongAnswer): Answer {
  switch (fault.kind) {
    case 'status':
      return statusAnswer(fault, exchange.now());
    case 'html':
      return { status: 200, body: HTML_PAGE, headers: { 'content-type': 'text/html' } };
    case 'truncated':
      return half(exchange.answer());
    case 'other_run':
      return withAnotherId(exchange.answer(), exchange.runId);
    case 'wrong_shape':
      return { status: 200, body: JSON.stringify({ data: [PRIVATE_CANARY] }) };
    case 'claim':
      return claiming(exchange.answer(), fault, exchange.now());
    case 'shift':
    case 'lag':
      // The question was changed, so this is its right answer.
      return exchange.answer();
  }
}

type StatusFault = Extract<Fault, { kind: 'status' }>;

function statusAnswer(fault: StatusFault, now: number): Answer {
  const headers = fault.retry_after === undefined ? {} : { 'retry-after': retryAfter(fault, now) };
  if (fault.is_html) {
    return {
      status: fault.status,
      headers: { ...headers, 'content-type': 'text/html' },
      body: HTML_PAGE,
    };
  }
  const detail = `simulated ${fault.status} with ${PRIVATE_CANARY}`;
  return { status: fault.status, headers, body: JSON.stringify({ detail }) };
}

/** Dates have whole seconds: rounding up never asks for less than what the rule says. */
function retryAfter(
  { retry_after: seconds = 0, retry_after_form: form }: StatusFault,
  now: number,
) {
  if (form === 'seconds') return String(seconds);
  return new Date(Math.ceil(now / 1_000 + seconds) * 1_000).toUTCString();
}

function half(answer: Answer): Answer {
  return { ...answer, status: 200, body: answer.body.slice(0, answer.body.length / 2) };
}

function withAnotherId(answer: Answer, runId: string | null): Answer {
  return runId === null ? answer : { ...answer, body: answer.body.replace(runId, ANOTHER_ID) };
}

/** The answer with this said of its run, or of each that it lists. */
function claiming(answer: Answer, fault: Extract<Fault, { kind: 'claim' }>, now: number): Answer {
  if (answer.status !== 200) return answer;
  const claim = {
    status: fault.status,
    ...(fault.progress !== undefined && { progress: fault.progress }),
    finished_at: isTerminalStatus(fault.status)
      ? new Date(now + fault.finished_in_ms).toISOString()
      : null,
  };
  const body = JSON.parse(answer.body) as { items?: object[] };
  for (const run of body.items ?? [body]) Object.assign(run, claim);
  return { ...answer, body: JSON.stringify(body) };
}
