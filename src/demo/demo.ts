import { createDaemonClient, type DaemonClient } from '../cli/client/client.ts';
import { type CliIo, untilAborted } from '../cli/context.ts';
import { EXIT, exitCodeOfInterrupt } from '../cli/exit.ts';
import { collectPages } from '../cli/client/pages.ts';
import { afterwardLines } from './afterwards.ts';
import { arrivalLine } from './arrival-line.ts';
import type { Display } from './display.ts';
import { computeFigures, type Figures } from './figures.ts';
import { introduction } from './introduction.ts';
import { BLANK, inColorOf } from './line.ts';
import { createLines } from './lines.ts';
import { enterCast, play, type Ending } from './play.ts';
import { Scoreboard } from './score.ts';
import { createScratch, type Scratch } from './scratch.ts';
import { createScreen } from './screen.ts';
import { setStage, type Stage, type StartDaemon } from './stage.ts';
import { summaryLines } from './summary.ts';
import { problemsOf } from './verdict.ts';

/** Time for one request to the daemon, ms. */
const REQUEST_TIMEOUT_MS = 10_000;

interface DemoDependencies {
  startDaemon: StartDaemon;
  io: Pick<CliIo, 'stdout' | 'stderr'>;
  /** True where a table may be redrawn in place; else each event is a plain line. */
  isLive: boolean;
  /** Where other verbs expect a daemon. */
  usualUrl: string;
  version: string;
  /** Ends the demo; its reason decides the exit code. */
  signal: AbortSignal;
}

/**
 * Runs all of runwatch on this machine, and checks that every expected event was delivered.
 * @param options.keep leaves everything running afterwards, until the signal
 * @returns the exit code: 0 when all went well, 1 when not, else that of the signal
 */
export async function runDemo(options: { keep: boolean }, deps: DemoDependencies): Promise<number> {
  const { stdout, stderr } = deps.io;
  const display = deps.isLive
    ? createScreen(stdout.stream, stdout.colors)
    : createLines(stdout.write);
  const scratch = createScratch();
  // Also runs where the process ends abruptly, as after a second Ctrl-C.
  const tidy = () => {
    display.close();
    scratch.remove();
  };
  process.on('exit', tidy);
  try {
    return await perform(options, { ...deps, display, scratch });
  } catch (error) {
    if (deps.signal.aborted) return exitCodeOfInterrupt(deps.signal.reason);
    display.close();
    if (scratch.keepForReading()) stderr.write(`${whereTheLogIs(scratch)}\n`);
    throw error;
  } finally {
    tidy();
    process.off('exit', tidy);
  }
}

interface Scene extends DemoDependencies {
  display: Display;
  scratch: Scratch;
}

async function perform({ keep }: { keep: boolean }, scene: Scene): Promise<number> {
  const { display, scratch, signal } = scene;
  for (const line of introduction(scene.version)) display.write(line);
  const board = new Scoreboard();
  const stage = await openStage(keep, board, scene);
  try {
    signal.throwIfAborted();
    const client = createDaemonClient(
      {
        url: stage.url,
        token: undefined,
        startupMs: 0,
        userAgent: `runwatch-demo/${scene.version}`,
        timeoutMs: REQUEST_TIMEOUT_MS,
      },
      signal,
    );
    board.expect(enterCast(stage.noxus));
    const ending = await play(board, { noxus: stage.noxus, client, display, signal });
    const figures = await takeFigures(board, ending, { client, stage });
    const isGood = conclude(scene, figures, problemsOf(board, ending, figures));
    if (!isGood) scratch.keepForReading();
    if (!isGood || !keep) return isGood ? EXIT.ok : EXIT.failure;
    await stayUp(board, stage, scene);
    return exitCodeOfInterrupt(signal.reason);
  } finally {
    await stage.stop();
  }
}

function openStage(inPublic: boolean, board: Scoreboard, scene: Scene): Promise<Stage> {
  const { startDaemon, version, scratch, display } = scene;
  return setStage({
    startDaemon,
    version,
    scratch,
    inPublic,
    respond(webhook) {
      const arrival = board.note(webhook);
      const startedAt = board.members[0]?.registeredAt ?? arrival.receivedAt;
      display.write(arrivalLine(arrival, startedAt));
      return arrival.status;
    },
  });
}

async function takeFigures(
  board: Scoreboard,
  { watches, endpoint, requestsInPause }: Ending,
  { client, stage }: { client: DaemonClient; stage: Stage },
): Promise<Figures> {
  const { total, maxInFlightPerRun } = stage.noxus.requests;
  const { data: events } = await collectPages(
    ({ limit, cursor }) => client.listEvents({ limit, after: cursor }),
    Infinity,
  );
  const requests = { total, maxInFlightPerRun };
  const now = Date.now();
  return computeFigures({ board, events, watches, endpoint, requests, requestsInPause, now });
}

/** Prints the summary. @returns whether the demo found no problem */
function conclude(scene: Scene, figures: Figures, problems: readonly string[]): boolean {
  const { display, io, scratch } = scene;
  display.close();
  for (const line of summaryLines(figures)) display.write(line);
  display.write(BLANK);
  if (problems.length === 0) {
    const words = 'Every expected webhook arrived: once, in order, and signed.';
    display.write([inColorOf('completed', `✔ ${words}`)]);
    return true;
  }
  const { stderr } = io;
  stderr.write(`${stderr.colors.red('error:')} the demo found problems:\n`);
  for (const problem of problems) stderr.write(`  ${problem}\n`);
  stderr.write(`${whereTheLogIs(scratch)}\n`);
  return false;
}

function whereTheLogIs({ logPath }: Scratch): string {
  return `The daemon's log is kept in ${logPath}`;
}

async function stayUp(board: Scoreboard, stage: Stage, scene: Scene): Promise<void> {
  const waiting = board.members.find(({ name }) => name === 'waits for a human');
  const lines = afterwardLines({
    url: stage.url,
    isUsual: stage.url === scene.usualUrl,
    noxusUrl: stage.noxus.url,
    logPath: scene.scratch.logPath,
    waitingRunId: waiting?.script.id ?? '',
  });
  for (const line of lines) scene.display.write(line);
  await untilAborted(scene.signal);
}
