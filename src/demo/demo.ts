import {
  createDaemonClient,
  isRunEvent,
  type DaemonClient,
  collectPages,
} from '../client/client.ts';
import { type CliIo, untilAborted } from '../cli/context.ts';
import { EXIT, exitCodeOfInterrupt } from '../cli/exit.ts';
import { arrivalLine, Scoreboard } from './scoreboard.ts';
import {
  createTempDir,
  type TempDir,
  startEnvironment,
  type Environment,
  type StartDaemon,
} from './environment.ts';
import { COMMAND } from '../package-root.ts';
import { BLANK, inColorOf, bold, text, type Line, type Print, dim, render } from './line.ts';
import { addRuns, playScenario, type ScenarioResult } from './player.ts';
import { computeFigures, type Figures, summaryLines, problemsOf } from './report.ts';
import { SCENARIO, countExpected } from './scenario.ts';

/** Time for one request to the daemon, ms. */
const REQUEST_TIMEOUT_MS = 60_000;

interface DemoDependencies {
  startDaemon: StartDaemon;
  io: Pick<CliIo, 'stdout' | 'stderr'>;
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
  const print: Print = (line) => stdout.write(`${render(line, stdout.colors)}\n`);
  const tempDir = createTempDir();
  // Also runs where the process ends abruptly, as after a second Ctrl-C.
  const tidy = () => tempDir.remove();
  process.on('exit', tidy);
  try {
    return await runScenario(options, { ...deps, print, tempDir });
  } catch (error) {
    if (deps.signal.aborted) return exitCodeOfInterrupt(deps.signal.reason);
    if (tempDir.keepForReading()) stderr.write(`${whereTheLogIs(tempDir)}\n`);
    throw error;
  } finally {
    tidy();
    process.off('exit', tidy);
  }
}

interface DemoContext extends DemoDependencies {
  print: Print;
  tempDir: TempDir;
}

async function runScenario({ keep }: { keep: boolean }, context: DemoContext): Promise<number> {
  const { print, tempDir, signal } = context;
  for (const line of introduction(context.version)) print(line);
  const board = new Scoreboard();
  const environment = await openEnvironment(keep, board, context);
  try {
    signal.throwIfAborted();
    for (const line of overture(environment.url)) print(line);
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
    const result = await playScenario(board, { noxus: environment.noxus, client, print, signal });
    const figures = await takeFigures(board, result, { client, environment });
    const isGood = report(context, figures, problemsOf(board, result, figures));
    if (!isGood) tempDir.keepForReading();
    if (!isGood) return EXIT.failure;
    if (!keep) {
      for (const line of NEXT) print(line);
      return EXIT.ok;
    }
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
  const { startDaemon, version, tempDir, print } = context;
  return startEnvironment({
    startDaemon,
    version,
    tempDir,
    onUsualPort,
    respond(webhook) {
      const arrival = board.note(webhook);
      const startedAt = board.runs[0]?.registeredAt ?? arrival.receivedAt;
      print(arrivalLine(arrival, startedAt));
      return arrival.status;
    },
  });
}

async function takeFigures(
  board: Scoreboard,
  { watches, endpoint, requestsInPause }: ScenarioResult,
  { client, environment }: { client: DaemonClient; environment: Environment },
): Promise<Figures> {
  const { data: logged } = await collectPages(
    ({ limit, cursor }) => client.listEvents({ limit, after: cursor }),
    Infinity,
  );
  const events = logged.filter(isRunEvent);
  const { default: streamed, onprem } = environment.noxus;
  const requests = { default: streamed.requests, onprem: onprem.requests };
  const now = Date.now();
  return computeFigures({ board, events, watches, endpoint, requests, requestsInPause, now });
}

/** Prints the summary. @returns whether the demo found no problem */
function report(context: DemoContext, figures: Figures, problems: readonly string[]): boolean {
  const { print, io, tempDir } = context;
  for (const line of summaryLines(figures)) print(line);
  print(BLANK);
  if (problems.length === 0) {
    const words = 'Every expected webhook arrived: once, in order, and signed.';
    print([inColorOf('completed', `✔ ${words}`)]);
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
  const { print, tempDir, usualUrl, signal } = context;
  const lines = afterwardLines({
    url: environment.url,
    isUsual: environment.url === usualUrl,
    noxusUrl: environment.noxus.default.url,
    logPath: tempDir.logPath,
    waitingRunId: waiting?.script.id ?? '',
  });
  for (const line of lines) print(line);
  await untilAborted(signal);
}

/** The lines before anything starts. */
function introduction(version: string): Line[] {
  return [
    [
      bold(`runwatch ${version}`),
      text(' watches runs of Noxus and sends webhooks of what becomes of'),
    ],
    [text('them. Here Noxus and the receiver are simulated; the daemon and its Redis are')],
    [text('real. Nothing leaves this machine, and nothing stays on it.')],
    BLANK,
  ];
}

/** The lines once everything runs. */
function overture(url: string): Line[] {
  const webhooks = countExpected(SCENARIO);
  return [
    [dim('Dashboard  '), text(`${url}/`)],
    BLANK,
    [text(`${SCENARIO.length} runs, and ${webhooks} webhooks to come, within about 15 seconds.`)],
    [dim('Each line is a webhook: when it came, its event, the run, and how long after')],
    [dim('the change in Noxus.')],
    BLANK,
  ];
}

/** What to try after a demo that does not go on. */
const NEXT: readonly Line[] = [
  BLANK,
  [bold('Next')],
  comment('The same, and it goes on: dashboard, API, own runs:'),
  command(`${COMMAND} demo --keep`),
  comment('The simulated Noxus alone, for a daemon of your own:'),
  command(`${COMMAND} simulate`),
  comment('What is still missing for your own Noxus:'),
  command(`${COMMAND} doctor`),
  BLANK,
];

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
  const runwatch = isUsual ? COMMAND : `RUNWATCH_URL=${url} ${COMMAND}`;
  const post = `curl -s -H 'content-type: application/json' ${noxusUrl}/_sim/runs`;
  return [
    BLANK,
    [bold('Everything still runs.'), text(' New webhooks appear here. Ctrl-C ends the demo.')],
    BLANK,
    [dim('Dashboard   '), text(`${url}/`)],
    [dim('API         '), text(`${url}/docs`)],
    [dim('Log         '), text(logPath)],
    BLANK,
    comment('What needs a person now:'),
    command(`${runwatch} attention`),
    comment('Answer the run that waits for a human, and see its webhook here:'),
    command(`${post}/${waitingRunId} -d '{"status":"completed","progress":100}'`),
    comment('Start a run that fails, and wait for it:'),
    command(
      `${post} -d '{"story":"fails","id":"${OWN_RUN}"}' && ${runwatch} watch ${OWN_RUN} --wait`,
    ),
    BLANK,
  ];
}

/** The id of the run that users start by the printed command. */
const OWN_RUN = 'my-run';

function comment(words: string): Line {
  return [dim(words)];
}

function command(words: string): Line {
  return [text(`  ${words}`)];
}
