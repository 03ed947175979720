import { withoutControls } from '../core/control-characters.ts';
import { isoTime } from '../core/event/event.ts';
import { workflowIdFrom } from '../core/run/id.ts';
import {
  isAwaiting,
  isKnownStatus,
  isTerminalStatus,
  isUuid,
  type KnownStatus,
  type RunSnapshot,
} from '../core/run/snapshot.ts';
import { readTimestamp } from '../core/run/timestamp.ts';
import { parsePath } from '../core/source/json-path.ts';
import { PathTree } from './scalar-reader.ts';

/** Our statuses, each with the words of the source that mean it; `*` stands for all other words. */
type StatesDeclaration = Readonly<Partial<Record<KnownStatus, readonly string[]>>>;

/** Where the fields of a run stand in an answer; each a path. */
export interface FieldsDeclaration {
  readonly id: string;
  /** The first that has a value counts. */
  readonly status: readonly string[];
  readonly workflow?: string | undefined;
  readonly workflow_name?: string | undefined;
  readonly created?: string | undefined;
  readonly started?: string | undefined;
  readonly finished?: string | undefined;
  readonly progress?: ProgressDeclaration | undefined;
  readonly attempt?: string | undefined;
}

/** A path to a share of 100, or to what is done and the total. */
export type ProgressDeclaration = string | { readonly done: string; readonly total: string };

/** What a second read says of runs that seem to be in some states. */
export interface SecondDeclaration {
  readonly when: readonly KnownStatus[];
  readonly id?: string | undefined;
  readonly status: readonly string[];
  readonly states: StatesDeclaration;
}

/** How the answers of a source are read. */
export interface MappingDeclaration {
  readonly run: FieldsDeclaration;
  readonly states: StatesDeclaration;
  /** The status of a run where no path of `status` has a value. */
  readonly absent?: KnownStatus | undefined;
  readonly also?: SecondDeclaration | undefined;
}

/** The scalars of an answer, by their slots. */
export type Values = readonly (string | null)[];

/** The run that was asked for. */
export interface AskedRun {
  runId: string;
  /** The last part of its id, which is what the source calls it. */
  ownId: string;
  /** The snapshot before this one; null where there is none. */
  before: RunSnapshot | null;
  /** Milliseconds since the epoch. */
  now: number;
}

/** What an answer shows: the status, and the name of its workflow, are ready, all else is read at the end. */
export interface FirstReading {
  status: string;
  /** The word of the source, where it stands in `states`. */
  word: string | null;
  /** Null where the source declares none. */
  attempt: number | null;
  values: Values;
}

/** What of a run a source has shown. */
export interface MappedRun {
  run: RunSnapshot;
  /** What the source calls its workflow; null where it gives no name. */
  workflowName: string | null;
}

/** What a second answer says of a run. Only a status changes that of the first answer. */
export type SaidBySecond =
  | ({ kind: 'status' } & Meaning)
  | { kind: 'no_id' | 'another_run' | 'no_word' | 'unknown_word' };

const ANY_WORD = '*';

/** Longest word of a source that stands for a status of its own, characters. */
const MAX_WORD = 64;

/** The longest name of a workflow, characters. */
const MAX_NAME = 128;

/** What a word means. */
interface Meaning {
  status: string;
  /** The word itself, where it stands in `states`. */
  word: string | null;
}

/** Words of a source and what they mean. */
class States {
  private readonly statuses = new Map<string, KnownStatus>();
  private readonly others: KnownStatus | null;

  constructor(declaration: StatesDeclaration) {
    const entries = Object.entries(declaration) as [KnownStatus, readonly string[]][];
    for (const [status, words] of entries) {
      for (const word of words) this.statuses.set(word, status);
    }
    this.others = this.statuses.get(ANY_WORD) ?? null;
    this.statuses.delete(ANY_WORD);
  }

  /** Null for a word that stands nowhere, where there is no `*`. */
  meaningOf(word: string): Meaning | null {
    const status = this.statuses.get(word);
    if (status !== undefined) return { status, word };
    return this.others === null ? null : { status: this.others, word: null };
  }
}

/**
 * A word that the configuration does not have: a status of its own, and never one of ours.
 * @param word without control characters
 */
function unmapped(word: string): Meaning {
  const text = word.trim();
  if (text === '' || text.length > MAX_WORD) return { status: 'unmapped', word: null };
  const isOurs = isKnownStatus(text) || isAwaiting(text);
  return { status: isOurs ? `unmapped_${text}` : text, word: null };
}

/** What the answers of a source mean, by its configuration. */
export class RunMapping {
  /** The paths of the first answer. */
  readonly tree = new PathTree();
  /** The paths of the second. */
  readonly secondTree = new PathTree();
  private readonly declaration: MappingDeclaration;
  private readonly states: States;
  private readonly slots: FieldSlots;
  private readonly second: SecondMapping | null;

  /** @param redact takes credentials out of a text, should the source repeat what it was sent */
  constructor(
    declaration: MappingDeclaration,
    private readonly redact: (text: string) => string = (text) => text,
  ) {
    this.declaration = declaration;
    this.states = new States(declaration.states);
    this.slots = slotsOf(declaration.run, this.tree);
    const { also } = declaration;
    this.second = also === undefined ? null : secondOf(also, this.secondTree);
  }

  /** Reads the first answer. @returns why it is no answer about the run, as a message */
  readFirst(
    values: Values,
    { ownId }: Pick<AskedRun, 'ownId'>,
  ): FirstReading | { problem: string } {
    const { run } = this.declaration;
    const given = values[this.slots.id] ?? null;
    if (given === null) return { problem: `${run.id} (id): nothing stands there` };
    if (!isSameId(given, ownId)) {
      return { problem: `${run.id} (id): another run than the one that was asked for` };
    }
    const attempt = attemptIn(values, this.slots.attempt);
    if (attempt === undefined) {
      return { problem: `${run.attempt} (attempt): no whole number from 1 stands there` };
    }
    const meaning = this.meaningOf(firstOf(values, this.slots.status));
    if (meaning !== null) return { ...meaning, attempt, values };
    return { problem: `${run.status.join(', ')} (status): nothing stands there` };
  }

  /** What a word means in an answer about a run, or that there is none; null for nothing. */
  meaningOf(word: string | null): Meaning | null {
    const { absent } = this.declaration;
    if (word !== null) return this.states.meaningOf(word) ?? unmapped(this.shown(word));
    return absent === undefined ? null : { status: absent, word: null };
  }

  /** Whether a status needs a second read. */
  needsSecond({ status }: FirstReading): boolean {
    return this.second?.when.has(status) ?? false;
  }

  /**
   * The status that a second answer shows. It is that of the first where the second says nothing of this run, as of
   * a later one.
   */
  withSecond(
    first: FirstReading,
    values: Values,
    { ownId }: Pick<AskedRun, 'ownId'>,
  ): FirstReading {
    const said = this.saidBySecond(values, { ownId });
    return said.kind === 'status' ? { ...first, status: said.status } : first;
  }

  /** What a second answer says of the run, or why it says nothing. */
  saidBySecond(values: Values, { ownId }: Pick<AskedRun, 'ownId'>): SaidBySecond {
    const { second } = this;
    if (second === null) return { kind: 'no_word' };
    const given = second.id === null ? ownId : (values[second.id] ?? null);
    if (given === null) return { kind: 'no_id' };
    if (!isSameId(given, ownId)) return { kind: 'another_run' };
    const word = firstOf(values, second.status);
    if (word === null) return { kind: 'no_word' };
    const meaning = second.states.meaningOf(word);
    return meaning === null ? { kind: 'unknown_word' } : { kind: 'status', ...meaning };
  }

  /** The run as a whole. */
  runOf({ status, word, attempt, values }: FirstReading, asked: AskedRun): MappedRun {
    const { slots } = this;
    const workflow = this.textAt(values, slots.workflow);
    const name = this.textAt(values, slots.workflowName);
    const run: RunSnapshot = {
      id: asked.runId,
      workflow_id: workflow === null ? null : workflowIdFrom(workflow),
      group_id: null,
      workflow_version_id: null,
      status,
      progress: progressIn(values, slots.progress),
      created_at: timeAt(values, slots.created),
      started_at: timeAt(values, slots.started),
      finished_at: this.isEndKnown(status, asked.before) ? timeAt(values, slots.finished) : null,
      source: null,
      user_id: null,
      conversation_id: null,
      observed_at: isoTime(asked.now),
      ...(word !== null && { source_status: word }),
      ...(attempt !== null && { attempt }),
    };
    return { run, workflowName: name === null ? null : beginningOf(name) };
  }

  private textAt(values: Values, slot: number | null): string | null {
    const text = slot === null ? '' : this.shown(values[slot] ?? '').trim();
    return text === '' ? null : text;
  }

  /** A text of the source without what must not be shown. */
  private shown(text: string): string {
    return this.redact(withoutControls(text, ' '));
  }

  /**
   * Whether the time of the end counts. Sources give one to runs that go on. After a wait that only the
   * second read showed, it is that of the interrupt.
   */
  private isEndKnown(status: string, before: RunSnapshot | null): boolean {
    if (!isTerminalStatus(status)) return false;
    if (before === null || !isAwaiting(before.status) || this.second === null) return true;
    const { source_status: word = null } = before;
    const first = word === null ? this.declaration.absent : this.states.meaningOf(word)?.status;
    return first === undefined || !this.second.when.has(first);
  }
}

interface SecondMapping {
  when: ReadonlySet<string>;
  id: number | null;
  status: readonly number[];
  states: States;
}

function secondOf({ when, id, status, states }: SecondDeclaration, tree: PathTree): SecondMapping {
  return {
    when: new Set(when),
    id: id === undefined ? null : slotOf(id, tree),
    status: status.map((path) => slotOf(path, tree)),
    states: new States(states),
  };
}

export type ProgressSlots = number | { done: number; total: number } | null;

/** Where the fields of a run stand among the values; null for a field that no path leads to. */
interface FieldSlots {
  id: number;
  status: readonly number[];
  workflow: number | null;
  workflowName: number | null;
  created: number | null;
  started: number | null;
  finished: number | null;
  progress: ProgressSlots;
  attempt: number | null;
}

function slotsOf(run: FieldsDeclaration, tree: PathTree): FieldSlots {
  const optional = (path: string | undefined) => (path === undefined ? null : slotOf(path, tree));
  return {
    id: slotOf(run.id, tree),
    status: run.status.map((path) => slotOf(path, tree)),
    workflow: optional(run.workflow),
    workflowName: optional(run.workflow_name),
    created: optional(run.created),
    started: optional(run.started),
    finished: optional(run.finished),
    progress: progressSlots(run.progress, tree),
    attempt: optional(run.attempt),
  };
}

export function progressSlots(
  progress: ProgressDeclaration | undefined,
  tree: PathTree,
): ProgressSlots {
  if (progress === undefined) return null;
  return typeof progress === 'object'
    ? { done: slotOf(progress.done, tree), total: slotOf(progress.total, tree) }
    : slotOf(progress, tree);
}

/** The place of a path among the values of an answer. */
export function slotOf(text: string, tree: PathTree): number {
  const path = parsePath(text);
  if (path === null) throw new Error(`the configuration lets a path pass that is none: ${text}`);
  return tree.add(path);
}

/** Of several places, the value of the first that has one. */
export function firstOf(values: Values, slots: readonly number[]): string | null {
  const slot = firstWithValue(values, slots);
  return slot === undefined ? null : (values[slot] ?? null);
}

/** Of several places, the one that counts: the first with a value. */
export function firstWithValue(values: Values, slots: readonly number[]): number | undefined {
  return slots.find((slot) => (values[slot] ?? '') !== '');
}

function isSameId(given: string, asked: string): boolean {
  return given === asked || (isUuid(asked) && given.toLowerCase() === asked.toLowerCase());
}

/** As much of a name as is kept. A character of two halves is kept or left out as a whole. */
function beginningOf(name: string): string | null {
  const beginning = name.slice(0, MAX_NAME);
  return (beginning.isWellFormed() ? beginning : beginning.slice(0, -1)).trim() || null;
}

const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;

function numberAt(values: Values, slot: number): number | null {
  const text = values[slot] ?? '';
  return NUMBER.test(text) ? Number(text) : null;
}

export function progressIn(values: Values, slots: ProgressSlots): number | null {
  if (slots === null) return null;
  const share = typeof slots === 'number' ? numberAt(values, slots) : shareOf(values, slots);
  return share === null || !Number.isFinite(share)
    ? null
    : Math.floor(Math.min(Math.max(share, 0), 100));
}

function shareOf(values: Values, slots: { done: number; total: number }): number | null {
  const [done, total] = [numberAt(values, slots.done), numberAt(values, slots.total)];
  return done === null || total === null || total <= 0 ? null : (done / total) * 100;
}

/** The most attempts that are counted. */
const MOST_ATTEMPTS = 999_999_999;

/** Null where none is declared; undefined where one is, and stands there not. One that counts from 0 is none. */
export function attemptIn(values: Values, slot: number | null): number | null | undefined {
  if (slot === null) return null;
  const attempt = numberAt(values, slot);
  const isOne = Number.isInteger(attempt) && attempt !== null && attempt >= 1;
  return isOne && attempt <= MOST_ATTEMPTS ? attempt : undefined;
}

/** From here on a number counts milliseconds: as seconds it would be the year 5138. */
const MILLISECONDS_FROM = 1e11;

/** Beyond it a number is no time in milliseconds: the year 5138. */
const LAST_MS = 1e14;

/** A time as ISO 8601, or as seconds or milliseconds since the epoch. One before 1970 stands for none, as 0 does. */
export function timeAt(values: Values, slot: number | null): string | null {
  const text = slot === null ? '' : (values[slot] ?? '');
  if (!NUMBER.test(text)) {
    const time = readTimestamp(text);
    return time === null || Date.parse(time) <= 0 ? null : time;
  }
  const given = Number(text);
  const ms = Math.round(given < MILLISECONDS_FROM ? given * 1_000 : given);
  return ms > 0 && ms < LAST_MS ? isoTime(ms) : null;
}
