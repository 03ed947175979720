import {
  createDaemonClient,
  isRunEvent,
  type DaemonClient,
  collectPages,
} from '../client/client.ts';
import { type CliIo, untilAborted } from '../cli/context.ts';
import { EXIT, exitCodeOfInterrupt } from '../cli/exit.ts';
import { arrivalLine, Scoreboard } from './scoreboard.ts';
import { type Display, createScreen, createLines } from './screen.ts';
import {
  createTempDir,
  type TempDir,
  startEnvironment,
  type Environment,
  type StartDaemon,
} from './environment.ts';
import { BLANK, inColorOf, bold, text, type Line, dim } from './line.ts';
import { addRuns, playScenario, type ScenarioResult } from './player.ts';
import { computeFigures, type Figures, summaryLines, problemsOf } from './report.ts';
import { SCENARIO, countExpected } from './scenario.ts';

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
 * @returns the exit code: 0 without problems, 1 with problems, else that of the signal
 */
export async function runDemo(options: { keep: boolean }, deps: DemoDependencies): Promise<number> {
  const { stdout, stderr } = deps.io;
  const display = deps.isLive
    ? createScreen(stdout.stream, stdout.colors)
    : createLines(stdout.write);
  const tempDir = createTempDir();
  // Also runs where the process ends abruptly, as after a second Ctrl-C.
  const tidy = () => {
    display.close();
    tempDir.remove();
  };
  process.on('exit', tidy);
  try {
    return await runScenario(options, { ...deps, display, tempDir });
  } catch (error) {
    if (deps.signal.aborted) return exitCodeOfInterrupt(deps.signal.reason);
    display.close();
    if (tempDir.keepForReading()) stderr.write(`${whereTheLogIs(tempDir)}\n`);
    throw error;
  } finally {
    tidy();
    process.off('exit', tidy);
  }
}

interface DemoContext extends DemoDependencies {
  display: Display;
  tempDir: TempDir;
}

async function runScenario({ keep }: { keep: boolean }, context: DemoContext): Promise<number> {
  const { display, tempDir, signal } = context;
  for (const line of introduction(context.version)) display.write(line);
  const board = new Scoreboard();
  const environment = await openEnvironment(keep, board, context);
  try {
    signal.throwIfAborted();
    const client = createDaemonClient(
      {
        url: environment.url,
        token: undefined,
        startupMs: 0,
        userAgent: `runwatch-demo/${context.version}`,
        timeoutMs: REQUEST_TIMEOUT_MS,
      },
      signal,
    );
    board.expect(addRuns(environment.noxus));
    const result = await playScenario(board, { noxus: environment.noxus, client, display, signal });
    const figures = await takeFigures(board, result, { client, environment });
    const isGood = report(context, figures, problemsOf(board, result, figures));
    if (!isGood) tempDir.keepForReading();
    if (!isGood || !keep) return isGood ? EXIT.ok : EXIT.failure;
    await keepRunning(board, environment, context);
    return exitCodeOfInterrupt(signal.reason);
  } finally {
    await environment.stop();
  }
}

function openEnvironment(
  onUsualPort: boolean,
  board: Scoreboard,
  context: DemoContext,
): Promise<Environment> {
  const { startDaemon, version, tempDir, display } = context;
  return startEnvironment({
    startDaemon,
    version,
    tempDir,
    onUsualPort,
    respond(webhook) {
      const arrival = board.note(webhook);
      const startedAt = board.runs[0]?.registeredAt ?? arrival.receivedAt;
      display.write(arrivalLine(arrival, startedAt));
      return arrival.status;
    },
  });
}

async function takeFigures(
  board: Scoreboard,
  { watches, endpoint, requestsInPause }: ScenarioResult,
  { client, environment }: { client: DaemonClient; environment: Environment },
): Promise<Figures> {
  const { total, maxInFlightPerRun } = environment.noxus.requests;
  const { data: logged } = await collectPages(
    ({ limit, cursor }) => client.listEvents({ limit, after: cursor }),
    Infinity,
  );
  const events = logged.filter(isRunEvent);
  const requests = { total, maxInFlightPerRun };
  const now = Date.now();
  return computeFigures({ board, events, watches, endpoint, requests, requestsInPause, now });
}

/** Prints the summary. @returns whether the demo found no problem */
function report(context: DemoContext, figures: Figures, problems: readonly string[]): boolean {
  const { display, io, tempDir } = context;
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
  stderr.write(`${whereTheLogIs(tempDir)}\n`);
  return false;
}

function whereTheLogIs({ logPath }: TempDir): string {
  return `The daemon's log is kept in ${logPath}`;
}

async function keepRunning(
  board: Scoreboard,
  environment: Environment,
  context: DemoContext,
): Promise<void> {
  const waiting = board.runs.find(({ name }) => name === 'waits for a human');
  const lines = afterwardLines({
    url: environment.url,
    isUsual: environment.url === context.usualUrl,
    noxusUrl: environment.noxus.url,
    logPath: context.tempDir.logPath,
    waitingRunId: waiting?.script.id ?? '',
  });
  for (const line of lines) context.display.write(line);
  await untilAborted(context.signal);
}

/** The lines before the scenario starts. */
function introduction(version: string): Line[] {
  return [
    [
      bold(`runwatch ${version}`),
      text(': a simulated Noxus, the real daemon with a Redis of its own, and'),
    ],
    [text('a receiver that verifies every webhook. Nothing leaves this machine.')],
    BLANK,
    [
      text(
        `${SCENARIO.length} runs, ${countExpected(SCENARIO)} webhooks to come, in about 15 seconds:`,
      ),
    ],
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

/** Commands to try while everything still runs. */
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
