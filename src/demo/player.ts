import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonClient } from '../client/client.ts';
import type { EndpointView, WatchView } from '../client/types.ts';
import { RunwatchError } from '../core/errors.ts';
import type { Simulator } from '../simulator/server.ts';
import { CAST, PAUSE, type Member, type Role } from './scenario.ts';
import type { Display, View } from './screen.ts';
import { seconds } from './line.ts';
import { remarkLine, isAllTold, type Scoreboard } from './arrivals.ts';

/** The table is redrawn about seven times a second. */
const FRAME_MS = 140;

/** The play takes about fifteen seconds; events later than this no longer come, ms. */
const CURTAIN_MS = 23_000;

/**
 * The pause is noticed one frame late, so requests count only until this long before its end, ms.
 */
const PAUSE_MARGIN_MS = 250;

/** The final state of the play. */
export interface Ending {
  /** The daemon's watches by run id. */
  watches: ReadonlyMap<string, WatchView>;
  endpoint: EndpointView;
  /** Requests during the source's pause; null where there was no pause. */
  requestsInPause: number | null;
}

interface PlayDependencies {
  noxus: Simulator;
  client: DaemonClient;
  display: Display;
  signal: AbortSignal;
}

/** Adds the runs of the cast to the simulated Noxus, and starts them. */
export function enterCast(noxus: Simulator): Member[] {
  const registeredAt = Date.now();
  return CAST.map((role) => enter(noxus, role, registeredAt));
}

function enter(noxus: Simulator, role: Role, registeredAt: number): Member {
  const script = noxus.add({ ...role.plot, ...(role.id !== undefined && { id: role.id }) });
  return { ...role, script, registeredAt };
}

async function register(client: DaemonClient, members: readonly Member[]): Promise<void> {
  const { results } = await client.registerBatch(
    members.map(({ script, name, timeoutMs }) => ({
      run_id: script.id,
      metadata: { name },
      ...(timeoutMs !== undefined && { timeout: `${timeoutMs}ms` }),
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
 * Registers the runs and lets them play. It ends once every event was delivered and every watch
 * ended, or when time is up. The signal ends it by an error.
 */
export async function play(board: Scoreboard, deps: PlayDependencies): Promise<Ending> {
  const { display, signal } = deps;
  const startedAt = Date.now();
  const pause = createPause(deps, startedAt);
  await register(deps.client, board.members);
  for (;;) {
    const [watches, endpoint] = await look(deps.client);
    const elapsedMs = Date.now() - startedAt;
    pause.tick(elapsedMs);
    display.update(viewOf(board, watches, { elapsedMs, requests: deps.noxus.requests.total }));
    if (isOver(board, watches, endpoint) || elapsedMs > CURTAIN_MS) {
      return { watches, endpoint, requestsInPause: pause.requests() };
    }
    await sleep(FRAME_MS, undefined, { signal });
  }
}

async function look(client: DaemonClient): Promise<[Map<string, WatchView>, EndpointView]> {
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
  const ended = board.members.every(({ script, end }) => watches.get(script.id)?.state === end);
  return ended && isAllTold(board) && endpoint.counts['pending'] === 0;
}

function viewOf(
  board: Scoreboard,
  watches: ReadonlyMap<string, WatchView>,
  figures: Pick<View, 'elapsedMs' | 'requests'>,
): View {
  const rows = board.members.map((member) => ({
    name: member.name,
    watch: watches.get(member.script.id) ?? null,
    told: board.accepted(member).length,
    expected: member.expected.length,
  }));
  return { ...figures, rows };
}

/** Makes Noxus refuse everything for a while, and counts requests made all the same. */
function createPause({ noxus, display }: PlayDependencies, startedAt: number) {
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
      const words = `Noxus answers 429: it takes no requests for ${seconds(PAUSE.forMs)}`;
      display.write(remarkLine(noticedAt - startedAt, words));
    },
    requests(): number | null {
      if (noticedAt === null) return null;
      const until = noticedAt + PAUSE.forMs - PAUSE_MARGIN_MS;
      return noxus.requests.requestsBetween(noticedAt + 1, until);
    },
  };
}
