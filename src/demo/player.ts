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

interface PlayerDependencies {
  noxus: Sources;
  client: DaemonClient;
  print: Print;
  signal: AbortSignal;
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

/**
 * Registers the runs and waits until every event is delivered and every watch has ended, or until
 * {@link TIME_LIMIT_MS}. Rejects when the signal aborts.
 */
export async function playScenario(
  board: Scoreboard,
  deps: PlayerDependencies,
): Promise<ScenarioResult> {
  const { signal } = deps;
  const startedAt = Date.now();
  const pause = createPause(deps, startedAt);
  await register(deps.client, board.runs);
  for (;;) {
    const [watches, endpoint] = await readDaemon(deps.client);
    const elapsedMs = Date.now() - startedAt;
    pause.tick(elapsedMs);
    followUp(board, deps.noxus, { watches, elapsedMs });
    if (isOver(board, watches, endpoint) || elapsedMs > TIME_LIMIT_MS) {
      return { watches, endpoint, requestsInPause: pause.requests() };
    }
    await sleep(READ_EVERY_MS, undefined, { signal });
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

/** Makes Noxus answer 429 for a while, and counts the requests during that time. */
function createPause({ noxus: { default: noxus }, print }: PlayerDependencies, startedAt: number) {
  let ordered = false;
  let noticedAt: number | null = null;
  return {
    tick(elapsedMs: number): void {
      if (!ordered && elapsedMs >= PAUSE.atMs) {
        ordered = true;
        noxus.fault({ kind: 'status', status: 429, retry_after: PAUSE.forMs / 1_000, count: 1 });
      }
      if (noticedAt !== null || noxus.requests.statuses['429'] === undefined) return;
      noticedAt = Date.now();
      const words = `Noxus answers 429 and takes no requests for ${seconds(PAUSE.forMs)}`;
      print(remarkLine(noticedAt - startedAt, words));
    },
    requests(): number | null {
      if (noticedAt === null) return null;
      const until = noticedAt + PAUSE.forMs - PAUSE_MARGIN_MS;
      return noxus.requests.requestsBetween(noticedAt + 1, until);
    },
  };
}
