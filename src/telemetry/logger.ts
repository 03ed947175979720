import pc from 'picocolors';
import { pino, stdTimeFunctions, type DestinationStream, type Level, type Logger } from 'pino';
import { withoutControls } from '../core/control-characters.ts';
import type { Attempt, Delivery } from '../core/delivery/delivery.ts';
import { shownReceiver } from '../core/delivery/receiver.ts';
import type { PageReport } from '../core/feed/list-hint.ts';
import type { PollReport } from '../core/watch/poll-report.ts';
import {
  LogOutput,
  type LogGap,
  type LogListener,
  type LogSink,
  type LogTrouble,
} from './log-output.ts';

export type { Logger } from 'pino';

interface LoggerOptions {
  level: string;
  /** Set on a terminal, for lines to read; without it each line is a JSON object. */
  terminal?: { colors: boolean } | null | undefined;
  destination: DestinationStream;
}

/** The process's logger. It redacts nothing: callers must not pass private data. */
export function createLogger({ level, terminal = null, destination }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    terminal === null ? destination : readable(destination, terminal),
  );
}

/** What is written besides the entries of a logger. */
export interface EventLog {
  /**
   * Writes a line, whatever the level of the log. Resolves once it is written.
   * @throws an error that says why no line can be written now
   */
  write(level: Level, fields: object, msg: string): Promise<void>;
  /** Null while lines can be written. */
  trouble(): LogTrouble | null;
  listen(listener: LogListener): void;
}

/** The log of a process: its entries, and events, in one order. */
interface ProcessLog {
  log: Logger;
  eventLog: EventLog;
  /** Hands over what waits, for a process that ends. */
  flush: () => void;
}

/**
 * Opens the log of this process.
 * @param complain says elsewhere than in the log that it cannot be written
 */
export function openProcessLog(
  sink: LogSink,
  complain: (text: string) => void,
  { level, terminal }: Pick<LoggerOptions, 'level' | 'terminal'>,
): ProcessLog {
  const make = createLineMaker(terminal);
  const output = new LogOutput(sink, gapLine(make), complain);
  return {
    log: createLogger({ level, terminal, destination: output }),
    eventLog: {
      write: (...entry) => output.deliver(make(...entry)),
      trouble: () => output.trouble(),
      listen: (listener) => output.listen(listener),
    },
    flush: () => output.flush(),
  };
}

type LineMaker = (level: Level, fields: object, msg: string) => string;

/** Makes lines as a logger writes them. */
function createLineMaker(terminal: LoggerOptions['terminal']): LineMaker {
  let line = '';
  const destination = { write: (text: string) => void (line = text) };
  const log = createLogger({ level: 'trace', terminal, destination });
  return (level, fields, msg) => {
    log[level](fields, msg);
    return line;
  };
}

function gapLine(make: LineMaker) {
  return ({ trouble, droppedLines }: LogGap): string => {
    const dropped = droppedLines > 0 && { dropped_lines: droppedLines };
    if (trouble === null) return make('warn', { ...dropped }, 'log.lines_dropped');
    const { reason, since } = trouble;
    const fields = { reason, since: new Date(since).toISOString(), ...dropped };
    return make('warn', fields, 'log.written_again');
  };
}

function readable(destination: DestinationStream, options: { colors: boolean }): DestinationStream {
  const format = createLineFormatter(options);
  return { write: (json) => destination.write(format(json)) };
}

type Colors = ReturnType<typeof pc.createColors>;
type Fields = Readonly<Record<string, unknown>>;

/** Longest value that a line shows, characters; the JSON off a terminal has all of it. */
const MOST_CHARACTERS = 300;

/** Fields that lead from one line to another: of use to programs, in the way of readers. */
const FOR_PROGRAMS = new Set([
  'delivery_id',
  'event_id',
  'state',
  'outcome',
  'polls',
  'failures',
  'next_poll_at',
  'next_attempt_at',
]);

/**
 * Turns lines of the log into lines for readers: time, level, message, and the fields that matter.
 * @param colors false for text without escape sequences
 * @returns the text of one line, with its line feed; what is no JSON passes unchanged
 */
export function createLineFormatter({ colors }: { colors: boolean }): (json: string) => string {
  const paint = pc.createColors(colors);
  return (json) => {
    const entry = parse(json);
    return entry === null ? json : `${lineOf(entry, paint)}\n`;
  };
}

function parse(json: string): Fields | null {
  try {
    const entry: unknown = JSON.parse(json);
    return isFields(entry) ? entry : null;
  } catch {
    return null;
  }
}

function lineOf({ time, level, msg, event, ...fields }: Fields, colors: Colors): string {
  const shown = isFields(event) ? ofEvent(event) : forReaders(fields);
  return [
    colors.dim(textOf(time).slice('2026-01-01T'.length)),
    levelText(textOf(level), colors),
    colors.bold(textOf(msg)),
    ...pairs(shown, colors),
  ].join(' ');
}

function levelText(level: string, colors: Colors): string {
  const text = level.padEnd(5);
  if (level === 'error' || level === 'fatal') return colors.red(text);
  if (level === 'warn') return colors.yellow(text);
  return level === 'info' ? colors.green(text) : colors.dim(text);
}

function forReaders(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !FOR_PROGRAMS.has(name)));
}

/** Of an event that a log endpoint writes: its run, or what a system event and an alert say. */
function ofEvent({ data }: Fields): Fields {
  if (!isFields(data)) return {};
  const { run_id: runId, run, workflow_name: workflow, watch, ...others } = data;
  if (typeof runId !== 'string') return data;
  const { progress, workflow_id: workflowId } = isFields(run) ? run : {};
  const { source, metadata } = isFields(watch) ? watch : {};
  return {
    run_id: runId,
    workflow: workflow ?? workflowId,
    progress,
    detection_delay_ms: others['detection_delay_ms'],
    source,
    ...(isFields(metadata) && metadata),
  };
}

function pairs(fields: Fields, colors: Colors): string[] {
  return Object.entries(fields).flatMap(([name, value]) => {
    const text = textOf(value);
    return text === '' ? [] : [`${colors.dim(`${withoutControls(name)}=`)}${quoted(text)}`];
  });
}

/** Empty for what a line leaves out. */
function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (Array.isArray(value)) return cut(value.map(textOf).filter(Boolean).join(','));
  if (isFields(value)) return textOf(value['message'] ?? value['type'] ?? jsonOf(value));
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return cut(withoutControls(text, '\u{fffd}'));
}

function jsonOf(fields: Fields): string {
  const json = JSON.stringify(fields);
  return json === '{}' ? '' : json;
}

function cut(text: string): string {
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
}

function quoted(text: string): string {
  return /[\s"=]/.test(text) ? `"${text.replaceAll('"', "'")}"` : text;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One wide line for each poll with a change; the others have level debug. */
export function logPoll(log: Logger, { watch, outcome, events, durationMs }: PollReport): void {
  const level = events.length > 0 ? 'info' : 'debug';
  if (!log.isLevelEnabled(level)) return;
  const fields = {
    source: watch.source,
    run_id: watch.runId,
    state: watch.state,
    status: watch.run?.status ?? null,
    progress: watch.run?.progress ?? null,
    outcome,
    events: events.map(({ id, type }) => ({ id, type })),
    polls: watch.polls,
    failures: watch.cadence.failures,
    trouble: watch.trouble?.message ?? null,
    duration_ms: durationMs,
    next_poll_at: watch.nextPollAt === null ? null : new Date(watch.nextPollAt).toISOString(),
  };
  log[level](fields, 'poll');
}

/** One wide line for each list that is given up; other reads of pages have level debug. */
export function logPage(log: Logger, { list, outcome, message, ...seen }: PageReport): void {
  const isGivenUp = outcome !== 'ok' && outcome !== 'rate_limited';
  const level = isGivenUp ? 'warn' : 'debug';
  if (!log.isLevelEnabled(level)) return;
  const fields = {
    source: list.source,
    workflow_id: list.workflowId,
    outcome,
    message,
    page: seen.page,
    changed: seen.changed,
    unchanged: seen.unchanged,
    vanished: seen.vanished,
    duration_ms: seen.durationMs,
    next_read_at: new Date(seen.nextAt).toISOString(),
  };
  log[level](fields, isGivenUp ? 'list.fallback' : 'list.page');
}

/** A finished attempt at delivering. */
interface DeliveryReport {
  delivery: Delivery;
  attempt: Attempt;
  /** How many further deliveries the message covered; null for those. */
  others: number | null;
}

/**
 * One wide line per attempt: a warning for a failed one, an error for the last one. Deliveries that the
 * message of another covered have level debug.
 */
export function logDelivery(log: Logger, { delivery, attempt, others }: DeliveryReport): void {
  const fields = {
    delivery_id: delivery.id,
    event_id: delivery.eventId,
    event_type: delivery.eventType,
    run_id: delivery.runId,
    endpoint: shownReceiver(delivery.endpoint),
    state: delivery.state,
    attempt: delivery.attemptCount,
    status: attempt.status,
    error: attempt.error,
    duration_ms: attempt.durationMs,
    ...(others !== null && others > 0 && { others }),
    next_attempt_at:
      delivery.nextAttemptAt === null ? null : new Date(delivery.nextAttemptAt).toISOString(),
  };
  if (others === null) log.debug(fields, 'delivery');
  else if (delivery.state === 'dead') log.error(fields, 'delivery');
  else if (attempt.error !== null) log.warn(fields, 'delivery');
  else log.info(fields, 'delivery');
}
