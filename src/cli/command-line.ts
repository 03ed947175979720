import { Command } from 'commander';
import type { RunwatchClient } from '../client/client.ts';
import type { CliEnv } from '../config/cli-env.ts';
import { isInClear } from '../config/hosts.ts';
import type { Random } from '../core/backoff.ts';
import { EXIT, exitCodeOf, exitCodeOfInterrupt } from './exit.ts';
import type { CliIo } from './output.ts';
import { note, reportError } from './report.ts';
import type { DaemonFlags } from './verb.ts';

/** Time for one request to the daemon, ms. A batch of a thousand is the longest. */
const REQUEST_TIMEOUT_MS = 30_000;

/** For how long a daemon on this machine that does not listen yet is waited for, ms. */
const STARTUP_MS = 5_000;

/** The default of {@link CommandLine.patienceMs}, as the help of `wait` says. */
const PATIENCE_MS = 120_000;

interface CommandLineOptions {
  /** Milliseconds since the epoch. */
  now?: () => number;
  random?: Random;
  startupMs?: number;
  patienceMs?: number;
}

/** How a verb connects otherwise than most. */
interface ConnectOptions {
  /** 0 waits for no daemon that is starting. */
  startupMs?: number;
  /** Ends its requests. */
  signal?: AbortSignal;
  /** What the audit log says that acts come from. @default 'cli' */
  program?: 'cli' | 'mcp';
}

/**
 * The command line of this process. Verbs add themselves to its `program`, and take it to reach what they work
 * with: outputs and input, environment, clock, and the client of a daemon.
 */
export class CommandLine {
  readonly program = new Command('runwatch');
  readonly now: () => number;
  readonly random: Random;
  /** For how long a daemon that does not answer is asked again by a verb that waits, ms. */
  readonly patienceMs: number;
  /** Of the verb that ran. */
  exitCode: number = EXIT.ok;
  /** Set by a verb that changes one thing after another: it goes on where its output is closed. */
  goesOnUnread = false;
  private readonly startupMs: number;
  private interrupted: AbortSignal | undefined;

  /**
   * @param interrupts puts the handlers of signals in place, and gives a signal that aborts on Ctrl-C and the
   *   like; its reason is a RunwatchError
   */
  constructor(
    readonly io: CliIo,
    readonly env: CliEnv,
    readonly version: string,
    private readonly interrupts: () => AbortSignal,
    {
      now = Date.now,
      random = Math.random,
      startupMs = STARTUP_MS,
      patienceMs = PATIENCE_MS,
    }: CommandLineOptions = {},
  ) {
    this.now = now;
    this.random = random;
    this.startupMs = startupMs;
    this.patienceMs = patienceMs;
  }

  /** Ends the verb that runs. `serve` reads it never, and has handlers of its own. */
  get signal(): AbortSignal {
    return (this.interrupted ??= this.interrupts());
  }

  /**
   * Runs a verb and keeps its exit code. What it throws becomes a sentence on stderr and an exit code.
   * @param failure the exit code when the verb could not do its work
   */
  async run(verb: () => Promise<number>, failure: number = EXIT.failure): Promise<void> {
    const { signal } = this;
    try {
      this.exitCode = await verb();
    } catch (error) {
      this.exitCode = signal.aborted
        ? exitCodeOfInterrupt(signal.reason)
        : this.report(error, failure);
    }
  }

  /** The same for a verb that has signal handlers of its own. */
  async runUnguarded(verb: () => Promise<number>): Promise<void> {
    try {
      this.exitCode = await verb();
    } catch (error) {
      this.exitCode = this.report(error);
    }
  }

  /** A client of the daemon that flags or environment name. Warns where its token travels in clear. */
  async connect(flags: DaemonFlags, options: ConnectOptions = {}): Promise<RunwatchClient> {
    if (this.env.apiToken() !== undefined) {
      this.warnOfPlainHttp('RUNWATCH_API_TOKEN', this.urlOf(flags));
    }
    return this.connectQuietly(flags, options);
  }

  /** {@link connect} without the warning, for a verb that has given it already. */
  async connectQuietly(
    flags: DaemonFlags,
    { startupMs = this.startupMs, signal = this.signal, program = 'cli' }: ConnectOptions = {},
  ): Promise<RunwatchClient> {
    // Loaded here: it is most of what a verb loads, and help and completion need none of it.
    const { createClient } = await import('../client/client.ts');
    const { stderr } = this.io;
    return createClient({
      url: this.urlOf(flags),
      token: this.env.apiToken(),
      startupMs,
      userAgent: `runwatch-${program}/${this.version}`,
      timeoutMs: REQUEST_TIMEOUT_MS,
      signal,
      onWaiting() {
        if (!stderr.isTty) return;
        const seconds = Math.round(startupMs / 1_000);
        note(stderr, `no daemon answers yet; waiting up to ${seconds} s for one that is starting`);
      },
    });
  }

  /** Warns of a secret that is about to cross public networks in clear. */
  warnOfPlainHttp(secret: string, url: string): void {
    if (!isInClear(url)) return;
    const { hostname } = new URL(url);
    const warning = `warning: ${secret} travels in clear over plain http to ${hostname}: use https`;
    note(this.io.stderr, warning);
  }

  private urlOf(flags: DaemonFlags): string {
    return flags.url ?? this.env.daemonUrl;
  }

  /**
   * Says what went wrong.
   * @param about what the error concerns, where the verb goes on with others
   * @returns the exit code
   */
  report(error: unknown, failure: number = EXIT.failure, about?: string): number {
    const verbose = this.program.opts<{ verbose?: boolean }>().verbose === true;
    reportError(this.io.stderr, error, { verbose, about });
    return exitCodeOf(error, failure);
  }
}

/** Resolves when the signal is aborted, at once when it was before. */
export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve();
      },
      { once: true },
    );
  });
}
