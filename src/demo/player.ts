import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonClient } from '../client/client.ts';
import type { EndpointView, WatchView } from '../client/types.ts';
import { RunwatchError } from '../core/errors.ts';
import type { Sources } from './environment.ts';
import {
  countExpected,
  SCENARIO,
  PAUSE,
  workflowOf,
  type DemoRun,
  type ScenarioRun,
} from './scenario.ts';
import { seconds, type Print } from './line.ts';
import { remarkLine, isComplete, type Scoreboard } from './scoreboard.ts';

/** How often the daemon is read, ms. */
const READ_EVERY_MS = 140;

/**
 * The scenario takes about fifteen seconds, and far longer on a busy machine. The demo does not wait longer
 * than this, ms.
 */
const TIME_LIMIT_MS = 300_000;

/** The demo notices the pause up to a read late, so it counts no requests this close to its end. */
const PAUSE_MARGIN_MS = 250;

/** The state at the end of the scenario. */
export interface ScenarioResult {
  /** The daemon's watches by run id. */
  watches: ReadonlyMap<string, WatchView>;
  endpoint: EndpointView;
  /** Requests during the source's pause; null where there was no pause. */
  requestsInPause: number | null;
}

/** Adds the runs of the scenario to the simulated Noxus, which starts them. */
export function addRuns(noxus: Sources): DemoRun[] {
  const registeredAt = Date.now();
  return SCENARIO.map((planned) => addRun(noxus, planned, registeredAt));
}

function addRun(noxus: Sources, planned: ScenarioRun, registeredAt: number): DemoRun {
  const { id: workflowId, source } = workflowOf(planned);
  const script = noxus[source].add({
    ...planned.plot,
    workflow_id: workflowId,
    ...(planned.id !== undefined && { id: planned.id }),
  });
  return { ...planned, script, registeredAt, followed: [] };
}

/** Makes the next change of each run for which the time has come. */
function followUp(
  board: Scoreboard,
  noxus: Sources,
  { watches, elapsedMs }: { watches: ReadonlyMap<string, WatchView>; elapsedMs: number },
): void {
  for (const demoRun of board.runs) {
    const { script, followUps = [], followed } = demoRun;
    const next = followUps[followed.length];
    if (next === undefined || elapsedMs < next.afterMs) continue;
    const present = followed.at(-1) ?? script.steps.at(-1);
    const isNoticed =
      next.webhooks === undefined
        ? watches.get(script.id)?.run?.status === present?.status
        : board.accepted(demoRun).length >= next.webhooks;
    if (!isNoticed) continue;
    noxus[workflowOf(demoRun).source].setStatus(script.id, next.status, next.progress);
    followed.push({ status: next.status, at: Date.now() });
  }
}

async function register(client: DaemonClient, runs: readonly DemoRun[]): Promise<void> {
  const { results } = await client.registerBatch(
    runs.map((run) => ({
      run_id: run.script.id,
      source: workflowOf(run).source,
      metadata: { name: run.name },
      ...(run.timeoutMs !== undefined && { timeout: `${run.timeoutMs}ms` }),
    })),
  );
  const refused = results.find(({ status }) => status !== 201);
  if (refused === undefined) return;
  throw new RunwatchError(
    `the daemon refused the run ${refused.run_id}: ${JSON.stringify(refused.error)}`,
    { code: 'demo_failed' },
  );
}

/** Plays the scenario: it registers the runs, follows them up, and has Noxus ask for a pause. */
export class Player {
  private isPauseOrdered = false;
  private pausedAt: number | null = null;

  constructor(
    private readonly board: Scoreboard,
    private readonly noxus: Sources,
    private readonly client: DaemonClient,
    private readonly print: Print,
  ) {}

  /**
   * Waits until every event is delivered and every watch has ended, or until {@link TIME_LIMIT_MS}. Rejects
   * when the signal aborts.
   */
  async play(signal: AbortSignal): Promise<ScenarioResult> {
    const { board, client, noxus } = this;
    const startedAt = Date.now();
    await register(client, board.runs);
    for (;;) {
      const [watches, endpoint] = await readDaemon(client);
      const elapsedMs = Date.now() - startedAt;
      this.pause(startedAt, elapsedMs);
      followUp(board, noxus, { watches, elapsedMs });
      if (isOver(board, watches, endpoint) || elapsedMs > TIME_LIMIT_MS) {
        return { watches, endpoint, requestsInPause: this.requestsInPause() };
      }
      await sleep(READ_EVERY_MS, undefined, { signal });
    }
  }

  /** Makes Noxus answer 429 for a while, once it is time, and notes when it has. */
  private pause(startedAt: number, elapsedMs: number): void {
    const noxus = this.noxus.default;
    if (!this.isPauseOrdered && elapsedMs >= PAUSE.atMs) {
      this.isPauseOrdered = true;
      noxus.fault({ kind: 'status', status: 429, retry_after: PAUSE.forMs / 1_000, count: 1 });
    }
    if (this.pausedAt !== null || noxus.requests.statuses['429'] === undefined) return;
    this.pausedAt = Date.now();
    const words = `Noxus answers 429 and takes no requests for ${seconds(PAUSE.forMs)}`;
    this.print(remarkLine(this.pausedAt - startedAt, words));
  }

  private requestsInPause(): number | null {
    if (this.pausedAt === null) return null;
    const until = this.pausedAt + PAUSE.forMs - PAUSE_MARGIN_MS;
    return this.noxus.default.requests.requestsBetween(this.pausedAt + 1, until);
  }
}

async function readDaemon(client: DaemonClient): Promise<[Map<string, WatchView>, EndpointView]> {
  const [{ data }, { data: endpoints }] = await Promise.all([
    client.listWatches({ limit: 200 }),
    client.listEndpoints(),
  ]);
  const [endpoint] = endpoints;
  if (endpoint === undefined) {
    throw new RunwatchError('the daemon lists no endpoint', { code: 'demo_failed' });
  }
  return [new Map(data.map((watch) => [watch.run_id, watch])), endpoint];
}

function isOver(
  board: Scoreboard,
  watches: ReadonlyMap<string, WatchView>,
  endpoint: EndpointView,
): boolean {
  const ended = board.runs.every(({ script, end }) => watches.get(script.id)?.state === end);
  // The endpoint may have been read before the last webhook was due, or before its answer was noted.
  const { delivered, pending } = endpoint.counts;
  const isNoted = delivered >= countExpected(board.runs) && pending === 0;
  return ended && isComplete(board) && isNoted;
}
