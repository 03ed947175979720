import { randomUUID } from 'node:crypto';
import { PRIVATE_CANARY } from '../../../src/simulator/wire-run.ts';
import { ApiServer, partsOf, type ApiAnswer, type ApiRequest } from './api-server.ts';

const A_UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;
const ASSISTANT = 'fe096781-5601-53d2-b2f6-0d3403f7e9ca';
const GRAPH = 'agent';

/** How a run ends. A graph that waits ends its run with success, as one that is done does. */
interface End {
  status: 'success' | 'error' | 'timeout' | 'interrupted';
  /** The node that calls `interrupt()` and waits for a value. */
  interruptIn?: string;
  /** The node before which the graph stops by `interrupt_before`. */
  pauseBefore?: string;
}

interface GraphRun {
  id: string;
  thread: string;
  status: string;
  createdAt: number;
  updatedAt: number;
}

interface Task {
  id: string;
  name: string;
  path: unknown[];
  error: string | null;
  interrupts: { value: unknown; id: string }[];
  checkpoint: null;
  state: null;
  result: null;
}

/** What a thread has kept last, and by which run. */
interface Checkpoint {
  id: string;
  run: string;
  tasks: Task[];
  createdAt: number;
  step: number;
}

/**
 * LangGraph Agent Server as far as runs and states of threads are read. Shapes: langgraph_sdk/schema.py of
 * github.com/langchain-ai/langgraph, and docs.langchain.com/langsmith/agent-server-api. The status of a run
 * after an interrupt is that of libs/langgraph-api/src/queue.mts in github.com/langchain-ai/langgraphjs.
 */
export class LangGraph extends ApiServer {
  readonly key = 'lsv2_pt_of-this-test';
  readonly #threads = new Map<string, Checkpoint | null>();
  readonly #runs = new Map<string, GraphRun>();
  readonly #now: () => number;

  constructor({ now = Date.now } = {}) {
    super();
    this.#now = now;
  }

  addThread(): string {
    const id = randomUUID();
    this.#threads.set(id, null);
    return id;
  }

  /** Adds a run, of a new thread unless one is given. @returns its id, `thread/run` */
  add(thread = this.addThread()): string {
    const now = this.#now();
    const run = { id: randomUUID(), thread, status: 'pending', createdAt: now, updatedAt: now };
    const key = `${thread}/${run.id}`;
    this.#runs.set(key, run);
    return key;
  }

  start(id: string): void {
    this.#setStatus(id, 'running');
    this.#keep(id, [task(GRAPH)]);
  }

  finish(id: string, { status, interruptIn, pauseBefore }: End): void {
    this.#setStatus(id, status);
    if (interruptIn !== undefined) {
      const value = { question: PRIVATE_CANARY };
      const interrupts = [{ value, id: randomUUID().replaceAll('-', '') }];
      this.#keep(id, [task(interruptIn, { interrupts })]);
    } else if (pauseBefore !== undefined) {
      this.#keep(id, [task(pauseBefore)]);
    } else if (status === 'success') {
      this.#keep(id, []);
    } else if (status === 'error') {
      this.#keep(id, [task(GRAPH, { error: PRIVATE_CANARY })]);
    }
  }

  /** A person answers, which is another run of the same thread. @returns its id; it runs */
  resume(id: string): string {
    const next = this.add(this.#run(id).thread);
    this.start(next);
    return next;
  }

  /** Deletes a thread with its runs. */
  deleteThread(thread: string): void {
    this.#threads.delete(thread);
    for (const [key, run] of this.#runs) if (run.thread === thread) this.#runs.delete(key);
  }

  protected answer({ path, method, headers }: ApiRequest): ApiAnswer {
    // Its check of health takes no key.
    if (path === '/ok') return { status: 200, body: { ok: true } };
    const key = headers['x-api-key'];
    if (key === undefined) return refusal(403, 'Missing authentication headers');
    if (key !== this.key) return refusal(403, 'Forbidden');
    const run = partsOf('/threads/{thread}/runs/{run}', path);
    const parts = run ?? partsOf('/threads/{thread}/state', path);
    if (parts === null || method !== 'GET') return refusal(404, 'Not Found');
    const bad = Object.keys(parts).find((name) => !A_UUID.test(parts[name] ?? ''));
    if (bad !== undefined) return refusal(422, `Invalid ${bad} ID: must be a UUID`);
    return run === null ? this.#stateOf(parts['thread'] ?? '') : this.#runOf(run);
  }

  #runOf({ thread, run: id }: Record<string, string>): ApiAnswer {
    const run = this.#runs.get(`${thread}/${id}`);
    if (run === undefined) return refusal(404, `Run with ID ${id} not found`);
    const body = {
      run_id: run.id,
      thread_id: run.thread,
      assistant_id: ASSISTANT,
      created_at: time(run.createdAt),
      updated_at: time(run.updatedAt),
      metadata: { graph_id: GRAPH, assistant_id: ASSISTANT },
      status: run.status,
      kwargs: { input: { question: PRIVATE_CANARY }, config: { configurable: {} } },
      multitask_strategy: 'enqueue',
    };
    return { status: 200, body };
  }

  #stateOf(thread: string): ApiAnswer {
    const kept = this.#threads.get(thread);
    if (kept === undefined) return refusal(404, `Thread with ID ${thread} not found`);
    const at = { thread_id: thread, checkpoint_ns: '' };
    const common = { values: { answer: PRIVATE_CANARY }, parent_checkpoint: null };
    if (kept === null) {
      const checkpoint = { ...at, checkpoint_id: null };
      const empty = { next: [], tasks: [], interrupts: [], metadata: {}, created_at: null };
      return { status: 200, body: { ...common, ...empty, checkpoint } };
    }
    const body = {
      ...common,
      next: kept.tasks.map(({ name }) => name),
      tasks: kept.tasks,
      interrupts: kept.tasks.flatMap(({ interrupts }) => interrupts),
      metadata: {
        source: 'loop',
        step: kept.step,
        parents: {},
        run_id: kept.run,
        thread_id: thread,
        graph_id: GRAPH,
        assistant_id: ASSISTANT,
      },
      created_at: time(kept.createdAt),
      checkpoint: { ...at, checkpoint_id: kept.id },
    };
    return { status: 200, body };
  }

  #setStatus(id: string, status: string): void {
    Object.assign(this.#run(id), { status, updatedAt: this.#now() });
  }

  #keep(id: string, tasks: Task[]): void {
    const { id: run, thread } = this.#run(id);
    const step = (this.#threads.get(thread)?.step ?? -1) + 1;
    const kept = { id: randomUUID(), run, tasks, createdAt: this.#now(), step };
    this.#threads.set(thread, kept);
  }

  #run(id: string): GraphRun {
    const run = this.#runs.get(id);
    if (run === undefined) throw new Error(`LangGraph has no run ${id}`);
    return run;
  }
}

function task(name: string, changes: Partial<Task> = {}): Task {
  const nothing = { error: null, interrupts: [], checkpoint: null, state: null, result: null };
  return { id: randomUUID(), name, path: ['__pregel_pull', name], ...nothing, ...changes };
}

function refusal(status: number, detail: string): ApiAnswer {
  return { status, body: { detail } };
}

/** As Python writes it, with microseconds. */
function time(at: number): string {
  return new Date(at).toISOString().replace('Z', '000+00:00');
}
