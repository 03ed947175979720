import type { PollResult } from '../core/run/snapshot.ts';
import type { ConfigFlags } from './local/config.ts';

/** Reads runs straight from Noxus. */
export interface RunReader {
  readRun(runId: string, options: { signal: AbortSignal }): Promise<PollResult>;
  close(): void;
}

export interface RunReaderSettings {
  baseUrl: string;
  apiKey: string;
  timeoutMs: number;
  userAgent: string;
  maxSockets: number;
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
  reencrypt(options: ReencryptFlags): Promise<number>;
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
