import { RunwatchError } from '../core/errors.ts';
import type { ScriptInput } from './script-schema.ts';
import {
  completeScript,
  isVisible,
  postponed,
  runAt,
  withStatus,
  type RunAnswer,
  type RunScript,
} from './script.ts';
import { DEFAULT_PRIVATE_BYTES, privatePart, type PublicRun } from './wire-run.ts';

const MAX_RUNS = 250_000;

/** The workflow of runs that name none. */
const DEFAULT_WORKFLOW_ID = '0b9e6f74-25c1-4d0e-8a5b-7c3f1d2e9a60';

interface RegistryOptions {
  now: () => number;
  /** How many times as fast as written the scripts play. */
  speed: number;
  newId: () => string;
}

interface ListQuery {
  /** Null for the runs of all workflows. */
  workflowId: string | null;
  /** How many of the newest are left out. */
  skip: number;
  size: number;
}

/** Every simulated run, and what can be read of it now. */
export class RunRegistry {
  readonly #scripts = new Map<string, RunScript>();
  readonly #options: RegistryOptions;
  /** The private fields of nearly all runs, made once. */
  readonly #usualTail = tailOf(DEFAULT_PRIVATE_BYTES);
  /** Ids, newest first; null when a run was added since it was made. */
  #order: string[] | null = null;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#scripts.size;
  }

  /** @throws RunwatchError `run_exists`, `too_many_runs` */
  add(input: ScriptInput): RunScript {
    const { now, speed, newId } = this.#options;
    const context = { now: now(), speed, newId, workflowId: DEFAULT_WORKFLOW_ID };
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

  /** Reads a run as a client does: this is what sets off runs that wait to be read. */
  read(id: string): RunAnswer {
    const script = this.#started(id);
    return script === null ? { kind: 'not_found' } : runAt(script, this.#elapsed(script));
  }

  /** The JSON text of a run as Noxus sends it, private fields included. */
  wireText(run: PublicRun): string {
    const bytes = this.#scripts.get(run.id)?.private_bytes ?? DEFAULT_PRIVATE_BYTES;
    const tail = bytes === DEFAULT_PRIVATE_BYTES ? this.#usualTail : tailOf(bytes);
    return `${JSON.stringify(run).slice(0, -1)},${tail}`;
  }

  /** One page of the runs that can be read, newest first, and how many there are in all. */
  list({ workflowId, skip, size }: ListQuery): { runs: PublicRun[]; total: number } {
    const visible: RunScript[] = [];
    for (const id of this.#newestFirst()) {
      const script = this.#scripts.get(id);
      if (script === undefined) continue;
      if (workflowId !== null && script.workflow_id !== workflowId) continue;
      if (isVisible(script, this.#elapsedUnread(script))) visible.push(script);
    }
    const runs = visible.slice(skip, skip + size).flatMap((script) => {
      const answer = runAt(script, this.#elapsedUnread(script));
      return answer.kind === 'run' ? [answer.run] : [];
    });
    return { runs, total: visible.length };
  }

  /** From now on the run is 404. @returns false when it is so already, or was never there */
  delete(id: string): boolean {
    const script = this.#started(id);
    if (script === null) return false;
    const elapsed = this.#elapsed(script);
    if (runAt(script, elapsed).kind !== 'run') return false;
    this.#scripts.set(id, { ...script, deleted_after_ms: elapsed });
    return true;
  }

  /**
   * Takes a run over by hand: the rest of its script no longer plays.
   * @throws RunwatchError `run_not_found`
   */
  setStatus(id: string, change: { status: string; progress?: number | undefined }): void {
    const script = this.#started(id);
    if (script === null) {
      throw new RunwatchError(`there is no run ${id}`, { code: 'run_not_found' });
    }
    this.#scripts.set(id, withStatus(script, this.#elapsed(script), change));
  }

  #started(id: string): RunScript | null {
    const script = this.#scripts.get(id);
    if (script?.starts !== 'when_read') return script ?? null;
    const started = postponed(script, this.#elapsed(script));
    this.#scripts.set(id, started);
    return started;
  }

  #elapsed(script: RunScript): number {
    return this.#options.now() - Date.parse(script.created_at);
  }

  /** Being listed does not set off a run that waits to be read. */
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

/** The private fields as JSON text that goes on where a run's public fields ended. */
function tailOf(bytes: number): string {
  return JSON.stringify(privatePart(bytes)).slice(1);
}
