import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonClient } from '../cli/client/client.ts';
import type { EndpointView, WatchView } from '../cli/client/wire.ts';
import { RunwatchError } from '../core/errors.ts';
import type { Simulator } from '../simulator/server.ts';
import { CAST, PAUSE, type Member, type Role } from './cast.ts';
import type { Display } from './display.ts';
import { seconds } from './line.ts';
import { remarkLine } from './arrival-line.ts';
import { isAllTold, type Scoreboard } from './score.ts';
import type { View } from './table.ts';

/** The table is drawn anew about seven times a second. */
const FRAME_MS = 140;

/** The play takes some fifteen seconds; what has not happened by now does not happen, ms. */
const CURTAIN_MS = 23_000;

/** The pause is noticed a frame late: so long before its end nobody is counted any more, ms. */
const PAUSE_MARGIN_MS = 250;

/** Where everything stands when the play is over. */
export interface Ending {
  /** By run id, as the daemon has them. */
  watches: ReadonlyMap<string, WatchView>;
  endpoint: EndpointView;
  /** Requests that came while the source had asked for a pause; null where it never came to that. */
  requestsInPause: number | null;
}

interface PlayDependencies {
  noxus: Simulator;
  client: DaemonClient;
  display: Display;
  signal: AbortSignal;
}

/** Adds the runs of the cast to the simulated Noxus; they play from now on. */
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
    `the daemon did not take the run ${refused.run_id}: ${JSON.stringify(refused.error)}`,
    { code: 'demo_failed' },
  );
}

/**
 * Registers the runs and lets them play until all has been told and every watch has come to its
 * end, or until it is clear that this is not to be. Ends with the signal by throwing.
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
    throw new RunwatchError('the daemon knows of no endpoint', { code: 'demo_failed' });
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

/** Has Noxus refuse everything for a while, and counts who asks all the same. */
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
      const words = `Noxus answers 429: nobody may ask it anything for ${seconds(PAUSE.forMs)}`;
      display.write(remarkLine(noticedAt - startedAt, words));
    },
    requests(): number | null {
      if (noticedAt === null) return null;
      const until = noticedAt + PAUSE.forMs - PAUSE_MARGIN_MS;
      return noxus.requests.requestsBetween(noticedAt + 1, until);
    },
  };
}
