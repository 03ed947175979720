import { loadConfig, type LoadedConfig } from '../../config/load.ts';
import { formatProblem } from '../../config/problems.ts';
import type { Config } from '../../config/schema.ts';
import {
  createLifecycle,
  startOrUndo,
  untilStoppedBySignal,
  type Lifecycle,
  type SignalSource,
} from '../../lifecycle.ts';
import { createLogger, type Logger } from '../../telemetry/logger.ts';
import { renderInvalid } from './config.ts';
import type { ServeOptions } from '../context.ts';
import { EXIT } from '../exit.ts';

interface ServeDependencies {
  startDaemon(options: {
    config: Config;
    log: Logger;
    eventLog: Logger;
    version: string;
    lifecycle: Lifecycle;
  }): Promise<unknown>;
  signals: SignalSource;
  exitNow: (code: number) => void;
  version: string;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
}

/**
 * Runs the daemon until a signal ends it.
 * @returns the exit code: 0 after a stop in good order, 2 for a configuration that is wrong
 */
export async function serve(options: ServeOptions, deps: ServeDependencies): Promise<number> {
  const { configPath, strict, ...flags } = options;
  const loaded = loadConfig({ purpose: 'serve', flags, configPath, strict });
  if (loaded.kind === 'invalid') {
    deps.stderr.write(renderInvalid(loaded));
    return EXIT.usage;
  }
  return run(loaded, deps);
}

async function run({ config, warnings }: LoadedConfig, deps: ServeDependencies): Promise<number> {
  const pretty = deps.stdout.isTTY;
  const log = await createLogger({ level: config.log.level, pretty, destination: deps.stdout });
  for (const warning of warnings) log.warn(`configuration: ${formatProblem(warning)}`);
  // Events for log endpoints are no diagnostics, so the log level does not filter them.
  const eventLog = await createLogger({ level: 'trace', pretty, destination: deps.stdout });
  const lifecycle = createLifecycle(log);
  const timeoutMs = config.server.shutdown_timeout;
  let signalled = false;
  const stopped = untilStoppedBySignal({
    source: deps.signals,
    stop() {
      signalled = true;
      return lifecycle.stop(timeoutMs);
    },
    exitNow: deps.exitNow,
    log,
  });
  const { version } = deps;
  const started = startOrUndo(lifecycle, timeoutMs, () =>
    deps.startDaemon({ config, log, eventLog, version, lifecycle }),
  ).catch((error: unknown) => {
    // A signal while it was starting is a stop in good order, too, whatever the start made of it.
    if (!signalled) throw error;
  });
  await Promise.race([started, stopped]);
  const code = await stopped;
  log.info('stopped');
  return code;
}
