import { isKnownStatus, type PollResult } from '../core/run/snapshot.ts';
import { ownIdOf, splitId } from '../core/source/run-template.ts';
import { createSourceClient, type SourceClientOptions } from '../fetch/client.ts';
import type { Reply } from '../fetch/transport.ts';
import type { DocumentOutcome } from './answer.ts';
import type { SendForDocument } from './documents.ts';
import {
  firstWithValue,
  slotOf,
  type RunMapping,
  type SaidBySecond,
  type Values,
} from './mapping.ts';
import { RunReader, type SourceDeclaration } from './port.ts';
import type { PathTree } from './scalar-reader.ts';
import { idTemplateOf } from './traits.ts';

/** A path of the configuration, and what it found in an answer. */
interface TriedValue {
  /** Its place below the source, such as `run.status.0`. */
  key: string;
  path: string;
  /** Null where no text, number, true or false stands there. */
  value: string | null;
}

/** One of the one or two requests of a read. */
export interface TriedRead {
  of: 'run' | 'also';
  /** Below the base URL, without a slash at its beginning. */
  path: string;
  /** Null where no answer came. */
  status: number | null;
  /** Quick retries included, milliseconds. */
  durationMs: number;
  /** Why there is no document; null where one came. */
  problem: string | null;
  values: readonly TriedValue[];
}

/** Why the first answer gives its status. `listed` words stand in `states`; `other` ones are taken by `*`. */
export type FirstReason =
  | { kind: 'listed' | 'other' | 'unknown'; path: string; word: string; status: string }
  | { kind: 'absent'; status: string };

/** What the second answer adds. */
export interface SecondReason {
  said: SaidBySecond;
  /** The word that counts, and where it stands; null where there is none. */
  word: string | null;
  path: string | null;
}

/** What one read of a run comes to, and how. */
export interface Trial {
  result: PollResult;
  reads: readonly TriedRead[];
  /** Null where the first answer gives no status. */
  first: FirstReason | null;
  /** Null where there was no second answer. */
  second: SecondReason | null;
}

interface LiveOptions extends SourceClientOptions {
  declaration: SourceDeclaration;
  signal: AbortSignal;
}

/**
 * Reads a run once from its API.
 * @throws RunwatchError `aborted` when the signal fires, `host_exhausted`, `invalid_source` as a port does
 */
export async function tryLive(
  runId: string,
  { declaration, signal, ...options }: LiveOptions,
): Promise<Trial> {
  const client = createSourceClient(options);
  try {
    return await client.call(
      (send) => tryRead(runId, declaration, { send, redact: client.redact }),
      {
        signal,
      },
    );
  } finally {
    client.close();
  }
}

/** Recorded answers in the place of an API. */
export interface Recorded {
  run: Buffer;
  /** The answer to `also`. */
  also: Buffer | undefined;
}

const NOT_GIVEN = 'no recorded answer was given';

/** Reads a run from recorded answers, each as one with status 200. */
export function tryRecorded(
  runId: string,
  declaration: SourceDeclaration,
  { run, also }: Recorded,
): Promise<Trial> {
  const answers = [run, also].values();
  const send: SendForDocument = async (request) => {
    const { value: body } = answers.next();
    if (body === undefined) return { kind: 'unavailable', message: NOT_GIVEN };
    const intake = request.openAnswer();
    intake.take(body, ANSWERED.status);
    return intake.read(ANSWERED, { redact: unchanged, now: Date.now(), onUnread: () => undefined });
  };
  return tryRead(runId, declaration, { send, redact: unchanged });
}

/** A recorded answer was given by the user, and no header was sent for it. */
const unchanged = (text: string) => text;

const ANSWERED: Reply & { status: number } = {
  kind: 'answer',
  status: 200,
  headers: {},
  isCut: false,
};

/** A request as it was sent, and what it came to. */
interface Sent {
  path: string;
  status: number | null;
  durationMs: number;
  outcome: DocumentOutcome;
}

interface Asking {
  send: SendForDocument;
  /** Takes credentials out of a text, should an answer repeat them. */
  redact: (text: string) => string;
}

/** Reads a run by the code that the daemon reads it by, and explains the outcome beside it. */
async function tryRead(
  runId: string,
  declaration: SourceDeclaration,
  { send, redact }: Asking,
): Promise<Trial> {
  const reader = new RunReader(declaration, Date.now, redact);
  const sent: Sent[] = [];
  const noted: SendForDocument = async (request) => {
    let status: number | null = null;
    const startedAt = performance.now();
    const outcome = await send({
      ...request,
      openAnswer() {
        const intake = request.openAnswer();
        return {
          take: intake.take,
          read(reply, context) {
            ({ status } = reply);
            return intake.read(reply, context);
          },
        };
      },
    });
    const durationMs = performance.now() - startedAt;
    sent.push({ path: request.path, status, durationMs, outcome });
    return outcome;
  };
  const result = await reader.readRun(noted, runId, {});
  return explained(runId, { declaration, mapping: reader.mapping, sent, result, redact });
}

interface Read {
  declaration: SourceDeclaration;
  mapping: RunMapping;
  sent: readonly Sent[];
  result: PollResult;
  redact: Asking['redact'];
}

function explained(runId: string, read: Read): Trial {
  const { declaration, mapping, sent, result, redact } = read;
  const { run, also } = declaration;
  const { get: _, ...fields } = run;
  const questions = [
    { of: 'run' as const, tree: mapping.tree, paths: pathsIn('run', fields) },
    {
      of: 'also' as const,
      tree: mapping.secondTree,
      paths: pathsIn('also', { id: also?.id, status: also?.status }),
    },
  ];
  const reads = questions.flatMap(({ of, tree, paths }, at): TriedRead[] => {
    const one = sent[at];
    if (one === undefined) return [];
    const values = shownOf(one, redact);
    return [
      {
        of,
        path: one.path,
        status: one.status,
        durationMs: one.durationMs,
        problem: problemOf(one.outcome),
        values:
          values === null
            ? []
            : paths.map(({ key, path }) => ({ key, path, value: valueAt(path, values, tree) })),
      },
    ];
  });
  const ids = idTemplateOf(declaration.id);
  const asked = { ownId: ownIdOf(ids, splitId(ids, runId) ?? {}) };
  const [first = null, second = null] = sent.map(valuesOf);
  return {
    result,
    reads,
    first: first && firstReason(first, asked, read),
    second: second && {
      said: mapping.saidBySecond(second, asked),
      ...wordIn(second, also?.status ?? [], { tree: mapping.secondTree, redact }),
    },
  };
}

function valuesOf({ outcome }: Sent): Values | null {
  return outcome.kind === 'document' ? outcome.values : null;
}

/** The values of a document, as they may be shown. */
function shownOf(sent: Sent, redact: Asking['redact']): Values | null {
  return valuesOf(sent)?.map((value) => value && redact(value)) ?? null;
}

function problemOf(outcome: DocumentOutcome): string | null {
  if (outcome.kind === 'gone') return `status ${outcome.status}: there is no such run`;
  return 'message' in outcome ? outcome.message : null;
}

function firstReason(
  values: Values,
  asked: { ownId: string },
  { declaration, mapping, redact }: Read,
): FirstReason | null {
  const reading = mapping.readFirst(values, asked);
  if ('problem' in reading) return null;
  const { status } = reading;
  const { word, path } = wordIn(values, declaration.run.status, { tree: mapping.tree, redact });
  if (word === null || path === null) return { kind: 'absent', status };
  if (reading.word !== null) return { kind: 'listed', path, word, status };
  return { kind: isKnownStatus(status) ? 'other' : 'unknown', path, word, status };
}

/** The word that counts, as it may be shown, and where it stands. */
function wordIn(
  values: Values,
  paths: readonly string[],
  { tree, redact }: { tree: PathTree; redact: Asking['redact'] },
): { word: string | null; path: string | null } {
  const slots = paths.map((path) => slotOf(path, tree));
  const slot = firstWithValue(values, slots);
  if (slot === undefined) return { word: null, path: null };
  const word = redact(values[slot] ?? '');
  return { word, path: paths[slots.indexOf(slot)] ?? null };
}

function valueAt(path: string, values: Values, tree: PathTree): string | null {
  return values[slotOf(path, tree)] ?? null;
}

/** The paths below a key of the configuration; of a list of one, the key is that of the list. */
function pathsIn(key: string, given: unknown): Omit<TriedValue, 'value'>[] {
  if (typeof given === 'string') return [{ key, path: given }];
  if (typeof given !== 'object' || given === null) return [];
  const entries = Object.entries(given);
  if (Array.isArray(given) && entries.length === 1) return pathsIn(key, given[0]);
  return entries.flatMap(([name, inner]) => pathsIn(`${key}.${name}`, inner));
}
