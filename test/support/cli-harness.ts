import { Readable, Writable } from 'node:stream';
import { CommandLine } from '../../src/cli/command-line.ts';
import { LocalVerbs } from '../../src/cli/local/local-verbs.ts';
import { outputOf, type CliIo } from '../../src/cli/output.ts';
import { runProgram } from '../../src/cli/program.ts';
import { readCliEnv } from '../../src/config/cli-env.ts';
import { RunwatchError } from '../../src/core/errors.ts';

interface HarnessOptions {
  env?: Record<string, string>;
  stdin?: string;
  /** Simulates a terminal on standard input; a silent one never sends anything. */
  terminalInput?: 'typed' | 'silent';
  /** Width of the simulated terminal; undefined for none. */
  terminal?: number;
  /** What verbs do in this process; what is not given rejects. */
  local?: Partial<LocalVerbs>;
  now?: () => number;
  /** How long to wait for a daemon that does not listen yet. */
  startupMs?: number;
  /** For how long a verb that waits asks a daemon again that does not answer. */
  patienceMs?: number;
}

/** A run of the program inside the test's process, with its output so far. */
export interface CliRun {
  stdout(): string;
  stderr(): string;
  exitCode: Promise<number>;
  interrupt(): void;
}

const NOW = Date.parse('2025-05-04T10:00:00.000Z');

/** Starts the command line with streams that are captured. */
export function startCli(args: string[], options: HarnessOptions = {}): CliRun {
  const stop = new AbortController();
  const stdout = new Sink(options.terminal);
  const stderr = new Sink(options.terminal);
  const env = readCliEnv(options.env ?? {});
  const io = {
    stdout: outputOf(stdout, env),
    stderr: outputOf(stderr, env),
    stdin: stdinOf(options),
  };
  const cli = new CommandLine(io, env, '1.2.3', () => stop.signal, {
    now: options.now ?? (() => NOW),
    random: () => 0,
    startupMs: options.startupMs ?? 0,
    patienceMs: options.patienceMs ?? 0,
  });
  const local = Object.assign(new LocalVerbs(cli), MISSING, options.local);
  return {
    stdout: () => stdout.text,
    stderr: () => stderr.text,
    exitCode: runProgram(args, cli, local),
    interrupt: () => stop.abort(new RunwatchError('stopped by SIGINT', { code: 'interrupted' })),
  };
}

function stdinOf({ stdin, terminalInput }: HarnessOptions): CliIo['stdin'] {
  const input =
    terminalInput === 'silent'
      ? new Readable({ read: () => undefined })
      : Readable.from(stdin === undefined ? [] : [Buffer.from(stdin)]);
  return terminalInput === undefined ? input : Object.assign(input, { isTTY: true });
}

/** Runs the command line to its end. */
export async function runCli(args: string[], options: HarnessOptions = {}) {
  const run = startCli(args, options);
  const exitCode = await run.exitCode;
  return { exitCode, stdout: run.stdout(), stderr: run.stderr() };
}

class Sink extends Writable {
  text = '';
  readonly isTTY: boolean;
  declare readonly columns?: number;

  constructor(terminal: number | undefined) {
    super({ decodeStrings: false });
    this.isTTY = terminal !== undefined;
    if (terminal !== undefined) Object.assign(this, { columns: terminal });
  }

  override _write(chunk: string | Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

const missing = (name: string) => (): Promise<never> =>
  Promise.reject(new RunwatchError(`${name} is not here`, { code: 'not_built' }));

const MISSING: Partial<LocalVerbs> = {
  createRunReader: missing('a reader'),
  serve: missing('serve'),
  showConfig: missing('config'),
  readRules: missing('rules test --config'),
  listen: missing('listen'),
  simulate: missing('simulate'),
  reencrypt: missing('reencrypt'),
  showStore: missing('store'),
  verifyStore: missing('store verify'),
  backUpStore: missing('store backup'),
  restoreStore: missing('store restore'),
  inspect: missing('inspect'),
  demo: missing('demo'),
};
