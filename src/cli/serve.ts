import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { createLogger, type Logger } from '../telemetry/logger.ts';
import { renderProblems } from './config.ts';
import type { ServeOptions } from './dependencies.ts';
import { EXIT } from './exit.ts';

/** A daemon that runs, as far as this verb needs to know it. */
interface Daemon {
  stop(): Promise<void>;
}

interface ServeDependencies {
  startDaemon(options: {
    config: Config;
    log: Logger;
    eventLog: Logger;
    version: string;
  }): Promise<Daemon>;
  /** Resolves with the first SIGTERM or SIGINT; a second one ends the process by itself. */
  signalled(): Promise<NodeJS.Signals>;
  version: string;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
}

/**
 * Runs the daemon until it is told to end.
 * @returns the exit code: 0 after a drain, 2 for a configuration that is wrong
 */
export async function serve(options: ServeOptions, deps: ServeDependencies): Promise<number> {
  const { configPath, ...flags } = options;
  const loaded = loadConfig({ purpose: 'serve', flags, configPath });
  if (loaded.kind === 'invalid') {
    deps.stderr.write(renderProblems(loaded.problems));
    return EXIT.usage;
  }
  const { config } = loaded;
  const pretty = deps.stdout.isTTY;
  const log = createLogger({ level: config.log.level, pretty, destination: deps.stdout });
  // What a log endpoint is told is no diagnostics of ours: our level does not filter it.
  const eventLog = createLogger({ level: 'trace', pretty, destination: deps.stdout });
  const daemon = await deps.startDaemon({ config, log, eventLog, version: deps.version });
  const signal = await deps.signalled();
  log.info({ signal, within_ms: config.server.shutdown_timeout }, 'draining');
  await daemon.stop();
  log.info('stopped');
  return EXIT.ok;
}
