import type { EventView } from '../client/types.ts';
import { eventOfAnyType } from '../http/schemas/event.ts';
import { plain } from '../cli/render/text.ts';
import type { ReceivedWebhook } from '../simulator/receiver.ts';
import { delayText, dim, inColorOf, seconds, text, type Line, type Span } from './line.ts';
import type { DemoRun } from './scenario.ts';

/** Most arrivals to keep; the demo has far fewer, but `--keep` may leave it running for long. */
const MOST_ARRIVALS = 10_000;

/** A webhook that arrived, and the receiver's answer. */
export interface Arrival {
  /** Null for a run that is not part of the scenario. */
  demoRun: DemoRun | null;
  event: EventView | null;
  /** Number of the attempt for this event, from 1. */
  attempt: number;
  /** Milliseconds since the epoch. */
  receivedAt: number;
  /** Why its signature is invalid; null when it is valid. */
  problem: string | null;
  /** The receiver's answer. */
  status: 204 | 401 | 503;
  /** From the change to the arrival, ms; null where the time of the change is unknown. */
  lateMs: number | null;
}

/** Records which webhooks the receiver got. */
export class Scoreboard {
  readonly #byRun = new Map<string, DemoRun>();
  readonly #arrivals: Arrival[] = [];

  /** Adds runs from which events are expected. */
  expect(runs: readonly DemoRun[]): void {
    for (const demoRun of runs) this.#byRun.set(demoRun.script.id, demoRun);
  }

  /** Every arrival, oldest first. */
  get arrivals(): readonly Arrival[] {
    return this.#arrivals;
  }

  get runs(): readonly DemoRun[] {
    return [...this.#byRun.values()];
  }

  /** Verifies a webhook and records it. */
  note(webhook: ReceivedWebhook): Arrival {
    const event = parseEvent(webhook.body);
    const demoRun = event === null ? null : (this.#byRun.get(event.data.run_id) ?? null);
    const attempt = 1 + this.#arrivals.filter((one) => isSame(one, event)).length;
    const { receivedAt, problem } = webhook;
    const status = !webhook.verified ? 401 : demoRun?.rejectedOnce && attempt === 1 ? 503 : 204;
    const lateMs = this.#delayOf(event, demoRun, receivedAt);
    const arrival: Arrival = { demoRun, event, attempt, receivedAt, problem, status, lateMs };
    this.#arrivals.push(arrival);
    if (this.#arrivals.length > MOST_ARRIVALS) this.#arrivals.shift();
    return arrival;
  }

  /** The types of a run's accepted webhooks, in the order of arrival. */
  received(demoRun: DemoRun): string[] {
    return this.accepted(demoRun).flatMap(({ event }) => event?.type ?? []);
  }

  /** Verified and accepted webhooks, of one run or all. */
  accepted(demoRun?: DemoRun): Arrival[] {
    return this.#arrivals.filter(
      (one) => one.status === 204 && (demoRun === undefined || one.demoRun === demoRun),
    );
  }

  #delayOf(event: EventView | null, demoRun: DemoRun | null, receivedAt: number): number | null {
    if (event === null) return null;
    const { type, data } = event;
    // A stall is no change of Noxus's.
    if (type === 'run.stalled' || type === 'run.recovered') return null;
    if (demoRun === null) {
      const finishedAt = data.run?.finished_at ?? null;
      return finishedAt === null ? null : receivedAt - Date.parse(finishedAt);
    }
    const before = this.accepted(demoRun).filter((one) => one.event?.type === type).length;
    return receivedAt - happenedAt(demoRun, { type, run: data.run }, before + 1);
  }
}

function isSame(arrival: Arrival, event: EventView | null): boolean {
  return event !== null && arrival.event?.id === event.id;
}

function parseEvent(body: string): EventView | null {
  try {
    const event: unknown = JSON.parse(body);
    return eventOfAnyType.safeParse(event).success ? (event as EventView) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** True once every expected webhook has arrived. */
export function isComplete(board: Scoreboard): boolean {
  return board.runs.every((demoRun) => board.accepted(demoRun).length >= demoRun.expected.length);
}

/** Problems of the webhooks, a sentence each: missing, extra or out of order. */
export function webhookProblems(board: Scoreboard): string[] {
  const foreign = board.arrivals.filter(({ demoRun }) => demoRun === null).length;
  const unverified = board.arrivals.filter(({ problem }) => problem !== null);
  return [
    ...board.runs.flatMap((demoRun) => problemsOfRun(board, demoRun)),
    ...unverified.map(({ problem }) => `A webhook could not be verified: ${problem}.`),
    ...(foreign > 0 ? [`${foreign} webhooks were about no run of this demo.`] : []),
  ];
}

function problemsOfRun(board: Scoreboard, demoRun: DemoRun): string[] {
  const accepted = board.accepted(demoRun);
  const ids = new Set(accepted.map(({ event }) => event?.id));
  const sequences = accepted.map(({ event }) => event?.data.sequence ?? 0);
  const inOrder = sequences.every((sequence, at) => sequence >= (sequences[at - 1] ?? 0));
  const received = board.received(demoRun);
  const subject = `The run that ${demoRun.name}`;
  if (ids.size < accepted.length)
    return [`${subject} gave an event twice: ${received.join(', ')}.`];
  if (!inOrder) return [`${subject} gave events out of order: ${received.join(', ')}.`];
  if (received.join() === demoRun.expected.join()) return [];
  return [`${subject} should have given ${list(demoRun.expected)}, but gave ${list(received)}.`];
}

function list(types: readonly string[]): string {
  return types.length === 0 ? 'nothing' : types.join(', ');
}

/**
 * The time of an event's change: Noxus's time if given, else the script's, and never before the
 * registration.
 * @param occurrence which entry into the status it was, from 1
 * @returns milliseconds since the epoch
 */
function happenedAt(
  demoRun: DemoRun,
  event: { type: string; run: { status: string; finished_at: string | null } | null },
  occurrence: number,
): number {
  return Math.max(demoRun.registeredAt, timeOf(demoRun, event, occurrence));
}

function timeOf(
  { script, registeredAt, timeoutMs, followed }: DemoRun,
  { type, run }: Parameters<typeof happenedAt>[1],
  occurrence: number,
): number {
  const createdAt = Date.parse(script.created_at);
  if (type === 'watch.expired') return registeredAt + (timeoutMs ?? 0);
  if (type === 'run.gone')
    return script.rejected ? registeredAt : createdAt + script.deleted_after_ms;
  if (run?.finished_at) return Date.parse(run.finished_at);
  const steps = script.steps.map(({ status, after_ms: ms }) => ({ status, at: createdAt + ms }));
  const changes = [...steps, ...followed];
  const entries = changes.filter(
    ({ status }, at) => status === run?.status && changes[at - 1]?.status !== status,
  );
  return entries[occurrence - 1]?.at ?? createdAt;
}

const TYPE_WIDTH = 'run.awaiting_human_feedback'.length;
const NAME_WIDTH = 22;

/**
 * One line about one webhook.
 * @param startedAt the start of the scenario, milliseconds since the epoch
 */
export function arrivalLine(arrival: Arrival, startedAt: number): Line {
  const { demoRun, event, status, receivedAt } = arrival;
  const type = plain(event?.type ?? '(not an event)');
  const name = plain(demoRun?.name ?? event?.data.run_id ?? '');
  const good = status === 204;
  return [
    dim(clock(receivedAt - startedAt)),
    good ? inColorOf('completed', '✔ ') : inColorOf('failed', '✘ '),
    inColorOf(type, type.padEnd(TYPE_WIDTH)),
    text(` ${name.padEnd(NAME_WIDTH)} `),
    remark(arrival),
  ];
}

/** A line about something other than a webhook, in the same columns. */
export function remarkLine(atMs: number, words: string): Line {
  return [dim(clock(atMs)), inColorOf('stopped', `• ${words}`)];
}

function clock(ms: number): string {
  return `${seconds(ms).padStart(6)}  `;
}

function remark({ status, problem, lateMs, attempt, event }: Arrival): Span {
  if (status === 401) return inColorOf('failed', `not verified: ${plain(problem ?? '')}`);
  if (status === 503) return inColorOf('stopped', 'answered 503');
  const again = attempt === 1 ? '' : `, try ${attempt}`;
  const { lasted_ms: lastedMs } = event?.data ?? {};
  if (lastedMs !== undefined) return dim(`${seconds(lastedMs)} in one state${again}`);
  return dim(`${lateMs === null ? '' : `${delayText(lateMs)} later`}${again}`);
}
