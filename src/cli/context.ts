import type { Readable } from 'node:stream';
import pc from 'picocolors';
import type { WrittenRules } from '../config/load.ts';
import type { CliEnv } from '../config/cli-env.ts';
import type { Random } from '../core/backoff.ts';
import type { EventStreams } from '../core/feed/run-stream.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import type { ConfigFlags } from './local/config.ts';

export type Colors = ReturnType<typeof pc.createColors>;

/** Where text goes, and what it can show there. */
export interface Output {
  stream: NodeJS.WritableStream;
  write: (text: string) => void;
  isTty: boolean;
  /** Width of the terminal; without one `COLUMNS`, else Infinity, so that nothing is cut in a pipe. */
  columns: number;
  /** Lines of the terminal; Infinity where there is none. */
  readonly rows: number;
  colors: Colors;
  /** True where a text may link to a URL (OSC 8). */
  links: boolean;
}

export interface CliIo {
  /** Data. */
  stdout: Output;
  /** Diagnostics and progress. */
  stderr: Output;
  stdin: Readable & { isTTY?: boolean };
}

/** What the process gives to the command line. */
export interface CliHost {
  io: CliIo;
  env: CliEnv;
  version: string;
  now: () => number;
  random: Random;
  /** For how long a daemon on this machine that does not listen yet is waited for, ms. */
  startupMs: number;
  /**
   * A signal that aborts on Ctrl-C and the like; its reason is a RunwatchError. The handlers are only
   * put in place by the first call, so that `serve` keeps its own.
   */
  interrupts: () => AbortSignal;
}

/** What a verb works with. */
export interface CliContext extends Omit<CliHost, 'interrupts'> {
  signal: AbortSignal;
}

type Sink = NodeJS.WritableStream & { isTTY?: boolean; columns?: number; rows?: number };

/**
 * An output on a stream, with the colours and the width of its terminal; without one, no colours.
 * @param columns the width without a terminal; absent, there is no limit
 */
export function outputOf(
  stream: Sink,
  {
    noColor,
    isDumb = false,
    columns = Infinity,
  }: { noColor: boolean; isDumb?: boolean; columns?: number | undefined },
): Output {
  const isTty = stream.isTTY === true;
  return {
    stream,
    write: (text) => void stream.write(text),
    isTty,
    columns: isTty ? (stream.columns ?? 80) : columns,
    // A terminal may be resized while it shows a table.
    get rows() {
      return isTty ? (stream.rows ?? 24) : Infinity;
    },
    colors: pc.createColors(isTty && !noColor),
    links: isTty && !isDumb && !noColor,
  };
}

/** The same output as wide as its tables like to be. */
export function widened(output: Output, isWide: boolean | undefined): Output {
  return isWide === true ? { ...output, columns: Infinity } : output;
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

/** Reads runs straight from Noxus. */
export interface RunReader {
  /** Absent where no event streams are followed. */
  follow?: EventStreams['follow'];
  readRun(runId: string, options: { signal: AbortSignal }): Promise<PollResult>;
  close(): void;
}

export interface RunReaderSettings {
  baseUrl: string;
  apiKey: string;
  timeoutMs: number;
  userAgent: string;
  /** Connections for reads, and for event streams: as many may be open at once. */
  maxSockets: number;
  maxStreams: number;
  proxy: string | undefined;
}

/** Flags of `serve`; they win over environment and file. */
export interface ServeOptions {
  configPath?: string;
  host?: string;
  port?: number;
  dataDir?: string;
  logLevel?: string;
  /** Refuses to start where the configuration cannot work. */
  strict?: boolean;
}

/** Flags of `reencrypt`. */
export interface ReencryptFlags {
  json: boolean;
  /** Gives up what no key decrypts. */
  discard: boolean;
  configPath?: string;
}

/** The result of one check. */
export interface Diagnosis {
  name: string;
  status: 'ok' | 'warning' | 'problem';
  detail: string;
  /** What to do about it; null where nothing is wrong, or the detail says it. */
  cure: string | null;
}

/** What can be found out without a daemon. */
export interface LocalInspection {
  configuration: Diagnosis[];
  /** True where a configuration was found here that a daemon could start with. */
  isConfigured: boolean;
  /** Asks Redis and the sources themselves. */
  inspectOutside: () => Promise<Diagnosis[]>;
  /** Asks those of these sources that are configured here. */
  inspectSources: (names: readonly string[]) => Promise<Diagnosis[]>;
}

/** Writes a text to stdout as it stands. */
type Write = (text: string) => void;

/**
 * What verbs do that is not done by asking the daemon. `main.ts` passes it in, so that the command
 * line does not load a server, a queue and a database to print a list. Numbers are exit codes.
 */
export interface CliDependencies {
  createRunReader(settings: RunReaderSettings): Promise<RunReader>;
  /** Handles SIGTERM and SIGINT itself. */
  serve(options: ServeOptions): Promise<number>;
  showConfig(options: ConfigFlags): Promise<number>;
  /** The sections of a file that alert rules are made of; null once it is said what is wrong with them. */
  readRules(configPath: string): Promise<WrittenRules | null>;
  reencrypt(options: ReencryptFlags): Promise<number>;
  /** What is found out of an installation without its daemon; see `verbs/doctor.ts`. */
  inspect(options: { configPath: string | undefined }): Promise<LocalInspection>;
  listen(options: {
    port: number;
    /** Secrets that signatures are verified with; none when only showing. */
    secrets: string[];
    json: boolean;
    signal: AbortSignal;
    write: Write;
  }): Promise<number>;
  simulate(options: { port: number; signal: AbortSignal; write: Write }): Promise<number>;
  /** Handles SIGTERM and SIGINT itself. */
  demo(options: { keep: boolean }): Promise<number>;
}
