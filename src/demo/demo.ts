import { createDaemonClient, type DaemonClient, collectPages } from '../client/client.ts';
import { type CliIo, untilAborted } from '../cli/context.ts';
import { EXIT, exitCodeOfInterrupt } from '../cli/exit.ts';
import { arrivalLine, Scoreboard } from './arrivals.ts';
import { type Display, createScreen, createLines } from './screen.ts';
import {
  createScratch,
  type Scratch,
  setStage,
  type Stage,
  type StartDaemon,
} from './environment.ts';
import { BLANK, inColorOf, bold, text, type Line, dim } from './line.ts';
import { enterCast, play, type Ending } from './player.ts';
import { computeFigures, type Figures, summaryLines, problemsOf } from './report.ts';
import { CAST, countExpected } from './scenario.ts';

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

/** What the demo is about to show. */
function introduction(version: string): Line[] {
  return [
    [
      bold(`runwatch ${version}`),
      text(': a simulated Noxus, the real daemon with a Redis of its own, and'),
    ],
    [text('a receiver that verifies every webhook. Nothing leaves this machine.')],
    BLANK,
    [text(`${CAST.length} runs, ${countExpected(CAST)} webhooks to come, in about 15 seconds:`)],
    BLANK,
  ];
}

/** Addresses for users that go on trying things. */
interface Places {
  /** The daemon's API. */
  url: string;
  /** True where the verbs find the daemon without `RUNWATCH_URL`. */
  isUsual: boolean;
  noxusUrl: string;
  logPath: string;
  /** A run that waits for a human. */
  waitingRunId: string;
}

/** What to try while everything still runs. */
function afterwardLines(places: Places): Line[] {
  const { url, isUsual, noxusUrl, logPath, waitingRunId } = places;
  const runwatch = isUsual ? 'npx runwatch' : `RUNWATCH_URL=${url} npx runwatch`;
  const post = `curl -s -X POST -H 'content-type: application/json' ${noxusUrl}/_sim/runs`;
  return [
    BLANK,
    [bold('Everything still runs.'), text(' New webhooks appear here. Ctrl-C ends the demo.')],
    BLANK,
    comment('See what the daemon knows:'),
    command(`${runwatch} list`),
    command(`${runwatch} show ${waitingRunId}`),
    command(`${runwatch} events --follow`),
    command(`${runwatch} deliveries`),
    BLANK,
    comment('Answer the run that waits for a human:'),
    command(`${post}/${waitingRunId} -d '{"status":"completed","progress":100}'`),
    BLANK,
    comment('Start another run, and watch the id in the answer:'),
    command(`${post} -d '{"story":"fails"}'`),
    command(`${runwatch} watch <run-id> --wait`),
    BLANK,
    [dim('API documentation  '), text(`${url}/docs`)],
    [dim("The daemon's log   "), text(logPath)],
    BLANK,
  ];
}

function comment(words: string): Line {
  return [dim(words)];
}

function command(words: string): Line {
  return [text(`  ${words}`)];
}
