import {
  createDaemonClient,
  isRunEvent,
  type DaemonClient,
  collectPages,
} from '../client/client.ts';
import { untilAborted, type CommandLine } from '../cli/command-line.ts';
import { EXIT, exitCodeOfInterrupt } from '../cli/exit.ts';
import { arrivalLine, Scoreboard } from './scoreboard.ts';
import {
  createTempDir,
  startEnvironment,
  type Environment,
  type StartDaemon,
} from './environment.ts';
import { COMMAND } from '../package-root.ts';
import { BLANK, inColorOf, bold, text, type Line, dim, render } from './line.ts';
import { addRuns, Player, type ScenarioResult } from './player.ts';
import { computeFigures, type Figures, summaryLines, problemsOf } from './report.ts';
import { SCENARIO, countExpected } from './scenario.ts';

/** Time for one request to the daemon, ms. */
const REQUEST_TIMEOUT_MS = 60_000;

/** All of runwatch on this machine, and whether every expected event was delivered. */
export class Demo {
  private readonly board = new Scoreboard();
  private readonly tempDir = createTempDir();

  constructor(
    private readonly cli: CommandLine,
    private readonly startDaemon: StartDaemon,
  ) {}

  /**
   * Runs it until its end, or until the signal of the command line.
   * @param options.keep leaves everything running afterwards, until the signal
   * @returns the exit code: 0 without problems, 1 with problems, else that of the signal
   */
  async run({ keep }: { keep: boolean }): Promise<number> {
    const { cli, tempDir } = this;
    // Also runs where the process ends abruptly, as after a second Ctrl-C.
    const tidy = () => tempDir.remove();
    process.on('exit', tidy);
    try {
      return await this.play(keep);
    } catch (error) {
      if (cli.signal.aborted) return exitCodeOfInterrupt(cli.signal.reason);
      if (tempDir.keepForReading()) cli.io.stderr.write(`${this.whereTheLogIs()}\n`);
      throw error;
    } finally {
      tidy();
      process.off('exit', tidy);
    }
  }

  private async play(keep: boolean): Promise<number> {
    const { board, cli, print } = this;
    for (const line of introduction(cli.version)) print(line);
    const environment = await this.open(keep);
    const { noxus, url } = environment;
    try {
      cli.signal.throwIfAborted();
      for (const line of overture(url)) print(line);
      const client = createDaemonClient(
        {
          url,
          token: undefined,
          startupMs: 0,
          userAgent: `runwatch-demo/${cli.version}`,
          timeoutMs: REQUEST_TIMEOUT_MS,
        },
        cli.signal,
      );
      board.expect(addRuns(noxus));
      const result = await new Player(board, noxus, client, print).play(cli.signal);
      const figures = await this.takeFigures(result, client, environment);
      if (!this.report(figures, problemsOf(board, result, figures))) {
        this.tempDir.keepForReading();
        return EXIT.failure;
      }
      if (!keep) {
        for (const line of NEXT) print(line);
        return EXIT.ok;
      }
      await this.keepRunning(environment);
      return exitCodeOfInterrupt(cli.signal.reason);
    } finally {
      await environment.stop();
    }
  }

  private readonly print = (line: Line): void => {
    const { stdout } = this.cli.io;
    stdout.write(`${render(line, stdout.colors)}\n`);
  };

  private open(onUsualPort: boolean): Promise<Environment> {
    const { board, cli, print, startDaemon, tempDir } = this;
    return startEnvironment(startDaemon, tempDir, {
      version: cli.version,
      onUsualPort,
      respond(webhook) {
        const arrival = board.note(webhook);
        const startedAt = board.runs[0]?.registeredAt ?? arrival.receivedAt;
        print(arrivalLine(arrival, startedAt));
        return arrival.status;
      },
    });
  }

  private async takeFigures(
    { watches, endpoint, requestsInPause }: ScenarioResult,
    client: DaemonClient,
    { noxus }: Environment,
  ): Promise<Figures> {
    const { data: logged } = await collectPages(
      ({ limit, cursor }) => client.listEvents({ limit, after: cursor }),
      Infinity,
    );
    const { board } = this;
    const events = logged.filter(isRunEvent);
    const requests = { default: noxus.default.requests, onprem: noxus.onprem.requests };
    const now = Date.now();
    return computeFigures({ board, events, watches, endpoint, requests, requestsInPause, now });
  }

  /** Prints the summary. @returns whether the demo found no problem */
  private report(figures: Figures, problems: readonly string[]): boolean {
    for (const line of summaryLines(figures)) this.print(line);
    this.print(BLANK);
    if (problems.length === 0) {
      const words = 'Every expected webhook arrived: once, in order, and signed.';
      this.print([inColorOf('completed', `✔ ${words}`)]);
      return true;
    }
    const { stderr } = this.cli.io;
    stderr.write(`${stderr.colors.red('error:')} the demo found problems:\n`);
    for (const problem of problems) stderr.write(`  ${problem}\n`);
    stderr.write(`${this.whereTheLogIs()}\n`);
    return false;
  }

  private whereTheLogIs(): string {
    return `The daemon's log is kept in ${this.tempDir.logPath}`;
  }

  private async keepRunning({ url, noxus }: Environment): Promise<void> {
    const { board, cli, tempDir } = this;
    const waiting = board.runs.find(({ name }) => name === 'waits for a human');
    const lines = afterwardLines({
      url,
      isUsual: url === cli.env.daemonUrl,
      noxusUrl: noxus.default.url,
      logPath: tempDir.logPath,
      waitingRunId: waiting?.script.id ?? '',
    });
    for (const line of lines) this.print(line);
    await untilAborted(cli.signal);
  }
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
