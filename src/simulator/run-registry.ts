import { RunwatchError } from '../core/errors.ts';
import { isTerminalStatus } from '../core/run/snapshot.ts';
import {
  type ScriptInput,
  completeScript,
  isVisible,
  postponed,
  publicRunAt,
  runAt,
  stateAt,
  withStatus,
  type RunAnswer,
  type RunScript,
} from './script.ts';
import { type PublicRun, DEFAULT_PRIVATE_BYTES, PRIVATE_CANARY, privatePart } from './wire-run.ts';
import { progressDetails, DEFAULT_WORKFLOW_ID } from './workflow.ts';

const MAX_RUNS = 250_000;

/** The most bytes that the inputs of all started runs may have. */
const MAX_INPUT_BYTES = 268_435_456;

/** The longest wait before the next reading of the clock, ms, since tests move the clock. */
const MAX_WAIT_MS = 1_000;

interface ListQuery {
  /** Null for the runs of all workflows. */
  workflowId: string | null;
  /** How many of the newest are left out. */
  skip: number;
  size: number;
  /** The age of the listed runs, ms, as from a replica that lags. */
  lagMs?: number;
}

/** A run's script, and the present age of the run. */
interface Moment {
  script: RunScript;
  elapsedMs: number;
}

/** Every simulated run, in its present state. */
export class RunRegistry {
  readonly #scripts = new Map<string, RunScript>();
  readonly #changes = new RunChanges();
  #inputBytes = 0;
  /** Ids, newest first; null after a run was added. */
  #order: string[] | null = null;

  /** @param speed of scripts; 2 plays them in half of the time */
  constructor(
    private readonly now: () => number,
    private readonly speed: number,
    private readonly newId: () => string,
  ) {}

  get size(): number {
    return this.#scripts.size;
  }

  /** @throws RunwatchError `run_exists`, `too_many_runs` */
  add(input: ScriptInput): RunScript {
    const { speed, newId } = this;
    const context = { now: this.now(), speed, newId, workflowId: DEFAULT_WORKFLOW_ID };
    const script = completeScript(input, context);
    if (this.#scripts.has(script.id)) {
      throw new RunwatchError(`there is a run ${script.id} already`, { code: 'run_exists' });
    }
    if (this.#scripts.size >= MAX_RUNS) {
      throw new RunwatchError(`at most ${MAX_RUNS} runs`, { code: 'too_many_runs' });
    }
    this.#scripts.set(script.id, script);
    this.#order = null;
    return script;
  }

  /** False if another run with this input would exceed the memory limits. */
  hasRoomFor(input: Record<string, unknown>): boolean {
    this.#inputBytes += JSON.stringify(input).length;
    return this.#inputBytes <= MAX_INPUT_BYTES && this.#scripts.size < MAX_RUNS;
  }

  /**
   * Reads a run as a client does, which starts a run that waits for its first read.
   * @param lagMs the age of the answer
   */
  read(id: string, lagMs = 0): RunAnswer {
    const moment = this.#moment(id);
    if (moment === null) return { kind: 'not_found' };
    const { script, elapsedMs } = moment;
    return runAt(script, lagMs === 0 ? elapsedMs : Math.max(0, elapsedMs - lagMs));
  }

  /** The present moment of a run; null if it cannot be read. */
  moment(id: string): Moment | null {
    const moment = this.#moment(id);
    const isThere = moment !== null && isVisible(moment.script, moment.elapsedMs);
    return isThere ? moment : null;
  }

  /** Calls back when a run is set by hand or deleted. @returns a function that ends this */
  onChange(id: string, listener: () => void): () => void {
    return this.#changes.listen(id, listener);
  }

  /**
   * Waits until the status of a run meets a condition.
   * @returns false if the signal aborts or the run is deleted before
   */
  async until(
    id: string,
    isSuch: (status: string) => boolean,
    { signal }: { signal: AbortSignal },
  ): Promise<boolean> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | null = null;
      const check = () => {
        if (timer !== null) clearTimeout(timer);
        const moment = this.moment(id);
        const isOver = moment !== null && isSuch(stateAt(moment.script, moment.elapsedMs).status);
        if (isOver || signal.aborted || this.#isGone(id)) {
          stopListening();
          signal.removeEventListener('abort', check);
          resolve(isOver);
          return;
        }
        timer = setTimeout(check, this.#untilNextStep(id));
      };
      const stopListening = this.onChange(id, check);
      signal.addEventListener('abort', check);
      check();
    });
  }

  /** The JSON text of a run as Noxus sends it, private fields included. */
  wireText(run: PublicRun): string {
    return runText(run, this.#scripts.get(run.id));
  }

  /** {@link RunRegistry.wireText} with output and progress details. */
  fullWireText(run: PublicRun): string {
    return fullRunText(run, this.#scripts.get(run.id));
  }

  /** {@link RunRegistry.fullWireText} of a run as it is now, whether it can be read or not. */
  fullText(id: string): string {
    const moment = this.#moment(id);
    if (moment === null) return 'null';
    const { script, elapsedMs } = moment;
    return fullRunText(publicRunAt(script, elapsedMs), script);
  }

  ioOf(run: PublicRun) {
    return runIo(run, this.#scripts.get(run.id));
  }

  /** Every run that can be read, newest first; `workflowId` null for those of all workflows. */
  all(workflowId: string | null): PublicRun[] {
    return this.list({ workflowId, skip: 0, size: Infinity }).runs;
  }

  /** One page of the runs that can be read, newest first, and how many there are in all. */
  list({ workflowId, skip, size, lagMs = 0 }: ListQuery): { runs: PublicRun[]; total: number } {
    const visible: RunScript[] = [];
    for (const id of this.#newestFirst()) {
      const script = this.#scripts.get(id);
      if (script === undefined) continue;
      if (workflowId !== null && script.workflow_id !== workflowId) continue;
      if (isVisible(script, this.#elapsedUnread(script))) visible.push(script);
    }
    const runs = visible.slice(skip, skip + size).flatMap((script) => {
      const answer = runAt(script, Math.max(0, this.#elapsedUnread(script) - lagMs));
      return answer.kind === 'run' ? [answer.run] : [];
    });
    return { runs, total: visible.length };
  }

  /** Makes reads of the run answer 404. @returns false if they do already */
  delete(id: string): boolean {
    const script = this.#started(id);
    if (script === null) return false;
    const elapsed = this.#elapsed(script);
    if (runAt(script, elapsed).kind !== 'run') return false;
    this.#put({ ...script, deleted_after_ms: elapsed });
    return true;
  }

  /** Stops a run unless it has ended. @returns the run afterwards */
  stop(run: PublicRun): PublicRun {
    if (isTerminalStatus(run.status)) return run;
    this.setStatus(run.id, { status: 'stopped' });
    const answer = this.read(run.id);
    return answer.kind === 'run' ? answer.run : run;
  }

  /**
   * Sets the status of a run by hand, which ends its script.
   * @throws RunwatchError `run_not_found`
   */
  setStatus(id: string, change: { status: string; progress?: number | undefined }): void {
    const script = this.#started(id);
    if (script === null) {
      throw new RunwatchError(`there is no run ${id}`, { code: 'run_not_found' });
    }
    this.#put(withStatus(script, this.#elapsed(script), change));
  }

  #put(script: RunScript): void {
    this.#scripts.set(script.id, script);
    this.#changes.announce(script.id);
  }

  #moment(id: string): Moment | null {
    const script = this.#started(id);
    return script === null ? null : { script, elapsedMs: this.#elapsed(script) };
  }

  #isGone(id: string): boolean {
    const moment = this.#moment(id);
    return moment === null || moment.elapsedMs >= moment.script.deleted_after_ms;
  }

  #untilNextStep(id: string): number {
    const moment = this.#moment(id);
    const next = moment?.script.steps.find((step) => step.after_ms > moment.elapsedMs);
    const waitMs = next === undefined ? Infinity : next.after_ms - (moment?.elapsedMs ?? 0);
    return Math.min(waitMs, MAX_WAIT_MS);
  }

  #started(id: string): RunScript | null {
    const script = this.#scripts.get(id);
    if (script?.starts !== 'when_read') return script ?? null;
    const started = postponed(script, this.#elapsed(script));
    this.#scripts.set(id, started);
    return started;
  }

  #elapsed(script: RunScript): number {
    return this.now() - Date.parse(script.created_at);
  }

  /** The age of a run in a list, which does not start a run that waits for its first read. */
  #elapsedUnread(script: RunScript): number {
    return script.starts === 'when_read' ? 0 : this.#elapsed(script);
  }

  #newestFirst(): string[] {
    this.#order ??= [...this.#scripts.values()]
      .toReversed()
      .sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at))
      .map((script) => script.id);
    return this.#order;
  }
}

type Listener = () => void;

/** Notifies listeners of a run that its script has changed. */
class RunChanges {
  readonly #listeners = new Map<string, Set<Listener>>();

  /** @returns a function that ends the subscription */
  listen(id: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(id);
    };
  }

  announce(id: string): void {
    for (const listener of this.#listeners.get(id) ?? []) listener();
  }
}

/** The private fields of runs with defaults, made once. */
const USUAL_TAIL = tailOf(DEFAULT_PRIVATE_BYTES, null);

/** A run as the JSON text of `RunNoIO`. */
function runText(run: PublicRun, script: RunScript | undefined): string {
  return `${JSON.stringify(run).slice(0, -1)},${tail(script)}`;
}

/** A run as JSON text with output and progress details, as the SDK reads it. */
function fullRunText(run: PublicRun, script: RunScript | undefined): string {
  const details = { output: outputOf(run, script), progress_details: progressDetails(run) };
  const own = JSON.stringify({ ...run, ...details });
  return `${own.slice(0, -1)},${tail(script)}`;
}

/** Input and output of a run; null for none. */
function runIo(run: PublicRun, script: RunScript | undefined) {
  const { input } = privatePart(0, script?.input ?? null);
  return { input, output: outputOf(run, script) };
}

function outputOf(run: PublicRun, script: RunScript | undefined): Record<string, unknown> | null {
  if (run.status !== 'completed') return null;
  const input = script?.input ?? null;
  return input === null ? { result: PRIVATE_CANARY } : { result: 'simulated', input };
}

function tail(script: RunScript | undefined): string {
  const bytes = script?.private_bytes ?? DEFAULT_PRIVATE_BYTES;
  const input = script?.input ?? null;
  return input === null && bytes === DEFAULT_PRIVATE_BYTES ? USUAL_TAIL : tailOf(bytes, input);
}

/** The private fields as JSON text that follows a run's public fields. */
function tailOf(bytes: number, input: Record<string, unknown> | null): string {
  return JSON.stringify(privatePart(bytes, input)).slice(1);
}
