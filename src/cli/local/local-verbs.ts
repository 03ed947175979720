import type { StoreView } from '../../client/types.ts';
import type { WrittenRules } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import type { DaemonOptions } from '../../daemon/open.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';
import type { ConfigFlags } from './config.ts';
import type { LocalInspection } from './doctor.ts';
import type { ReencryptFlags } from './reencrypt.ts';
import type { RunReader, RunReaderSettings } from './run-reader.ts';
import type { ServeOptions } from './serve.ts';
import type { BackupFlags, ShowStoreFlags, StoreFlags } from './store.ts';
import type { TryFlags, TryView } from './try.ts';

/**
 * What verbs do in this process instead of asking a daemon. Each loads its modules when it runs: a list must not
 * wait for a database client. Numbers are exit codes.
 */
export class LocalVerbs {
  /** @param migrations of the store that are known; those of this version, unless given */
  constructor(
    private readonly cli: CommandLine,
    private readonly migrations?: DaemonOptions['migrations'],
  ) {}

  get userAgent(): string {
    return `runwatch/${this.cli.version}`;
  }

  /** Handles SIGTERM and SIGINT itself. */
  async serve(options: ServeOptions): Promise<number> {
    const { serve } = await import('./serve.ts');
    const start = (given: DaemonOptions) => startDaemon({ ...given, migrations: this.migrations });
    const exitCode = await serve(this.cli, options, start, process);
    // A part that did not stop in time must not keep the process alive.
    return process.exit(exitCode);
  }

  async showConfig(flags: ConfigFlags): Promise<number> {
    const { showConfig } = await import('./config.ts');
    return showConfig(flags, this.cli.io);
  }

  async showConfigSchema(): Promise<number> {
    const { readConfigSchema } = await import('./config.ts');
    this.cli.io.stdout.write(readConfigSchema());
    return EXIT.ok;
  }

  /** The sections of a file that alert rules are made of; null once it is said what is wrong with them. */
  async readRules(configPath: string): Promise<WrittenRules | null> {
    const { readRulesFile } = await import('./rules.ts');
    return readRulesFile(configPath, this.cli.io);
  }

  /** What one read of a run comes to; null once it is said what is wrong with the configuration. */
  async tryRun(run: string, flags: TryFlags): Promise<TryView | null> {
    const { tryRun } = await import('./try.ts');
    return tryRun(this.cli, run, flags, this.userAgent);
  }

  async reencrypt(flags: ReencryptFlags): Promise<number> {
    const { reencrypt } = await import('./reencrypt.ts');
    return reencrypt(this.cli, flags);
  }

  async showStore(flags: ShowStoreFlags): Promise<number> {
    const { showStore } = await import('./store.ts');
    return showStore(this.cli, { ...flags, migrations: this.migrations });
  }

  /** @param file of a backup; null for the store itself */
  async verifyStore(file: string | null, flags: StoreFlags): Promise<number> {
    const { verifyStore } = await import('./store.ts');
    return verifyStore(this.cli, file, { ...flags, migrations: this.migrations });
  }

  async backUpStore(path: string, flags: BackupFlags): Promise<number> {
    const { backUpStore } = await import('./store.ts');
    return backUpStore(this.cli, path, flags);
  }

  async restoreStore(file: string, flags: StoreFlags): Promise<number> {
    const { restoreStore } = await import('./store.ts');
    return restoreStore(this.cli, file, { ...flags, migrations: this.migrations });
  }

  /** What is found out of an installation without its daemon. */
  async inspect(configPath: string | undefined): Promise<LocalInspection> {
    const { inspectInstallation } = await import('./doctor.ts');
    return inspectInstallation(this, configPath);
  }

  /** Reads runs straight from Noxus. */
  async createRunReader(settings: RunReaderSettings): Promise<RunReader> {
    const { createRunReader } = await import('./run-reader.ts');
    return createRunReader(settings);
  }

  /** The id of a run of Noxus that a text is, or its URL holds; null for what is of no run. */
  async noxusIdOf(text: string): Promise<string | null> {
    const { noxusIdOf } = await import('./run-reader.ts');
    return noxusIdOf(text);
  }

  /** What doctor says of a Redis that answers; null for one that forbids INFO. */
  async probeRedis(config: Config): Promise<StoreView['server']> {
    const { probeRedis } = await import('../../daemon/redis.ts');
    return probeRedis(config);
  }

  /** The server that the daemon would run as its own Redis; null where none is installed. */
  async findOwnServer(): Promise<string | null> {
    const { findOwnServer } = await import('../../daemon/redis.ts');
    return findOwnServer();
  }

  /** @param options.secrets that signatures are verified with; none when only showing */
  async listen(options: { port: number; secrets: string[]; json: boolean }): Promise<number> {
    const { listen } = await import('./listen.ts');
    await listen({ ...options, signal: this.cli.signal, write: this.writeLine });
    return EXIT.ok;
  }

  async simulate(options: { port: number }): Promise<number> {
    const { simulate } = await import('./simulate.ts');
    await simulate({ ...options, signal: this.cli.signal, write: this.writeLine });
    return EXIT.ok;
  }

  async demo(options: { keep: boolean }): Promise<number> {
    const { Demo } = await import('../../demo/demo.ts');
    // A terminal that is closed would otherwise leave the Redis of the demo behind.
    process.on('SIGHUP', () => process.kill(process.pid, 'SIGTERM'));
    const exitCode = await new Demo(this.cli, startDaemon).run(options);
    // As for `serve`.
    return process.exit(exitCode);
  }

  private readonly writeLine = (line: string): void => {
    this.cli.io.stdout.write(`${line}\n`);
  };
}

/** Loads the daemon only for a configuration that is right, with the handlers of signals in place. */
async function startDaemon(options: DaemonOptions) {
  const daemon = await import('../../start-daemon.ts');
  return daemon.startDaemon(options);
}
