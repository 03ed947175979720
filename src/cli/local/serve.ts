import { isatty } from 'node:tty';
import { loadConfig, type InvalidConfig, type LoadedConfig } from '../../config/load.ts';
import { formatProblem } from '../../config/problems.ts';
import type { Config } from '../../config/schema.ts';
import {
  createLifecycle,
  endOnFault,
  ignoreOtherSignals,
  startOrUndo,
  untilStoppedBySignal,
  type Lifecycle,
  type SignalSource,
} from '../../lifecycle.ts';
import { fileSink, streamSink } from '../../telemetry/log-output.ts';
import { openProcessLog, type EventLog, type Logger } from '../../telemetry/logger.ts';
import { renderInvalid } from './config.ts';
import type { ServeOptions } from '../context.ts';
import { EXIT } from '../exit.ts';

interface ServeDependencies {
  startDaemon(options: {
    config: Config;
    tracing: LoadedConfig['tracing'];
    log: Logger;
    eventLog: EventLog;
    version: string;
    lifecycle: Lifecycle;
  }): Promise<{ reload(loaded: LoadedConfig | InvalidConfig): void }>;
  signals: SignalSource & Parameters<typeof ignoreOtherSignals>[0]['source'];
  faults: Parameters<typeof endOnFault>[0]['source'];
  exitNow: (code: number) => void;
  version: string;
  stdout: NodeJS.WriteStream & { fd: number };
  /** Whether stdout is a file, not a pipe, socket or terminal. */
  isFile: boolean;
  stderr: NodeJS.WriteStream;
  /** Whether lines on a terminal may have colours. */
  hasColors: boolean;
}

/**
 * Runs the daemon until a signal ends it; SIGHUP reads the configuration again.
 * @returns the exit code: 0 after a stop in good order, 2 for a configuration that is wrong
 */
export async function serve(options: ServeOptions, deps: ServeDependencies): Promise<number> {
  const { configPath, strict, ...flags } = options;
  const load = () => loadConfig({ purpose: 'serve', flags, configPath, strict });
  const loaded = load();
  if (loaded.kind === 'invalid') {
    deps.stderr.write(renderInvalid(loaded));
    return EXIT.usage;
  }
  return run(loaded, load, deps);
}

async function run(
  { config, warnings, tracing }: LoadedConfig,
  load: () => LoadedConfig | InvalidConfig,
  deps: ServeDependencies,
): Promise<number> {
  const { stdout, stderr } = deps;
  const terminal = stdout.isTTY ? { colors: deps.hasColors } : null;
  // Events for log endpoints are no diagnostics, so the log level does not filter them.
  const sink = deps.isFile ? fileSink(stdout.fd) : streamSink(stdout);
  const complain = (text: string) => void stderr.write(`runwatch: ${text}\n`);
  const { log, eventLog, flush } = openProcessLog(sink, complain, {
    level: config.log.level,
    terminal,
  });
  const exitNow = (code: number) => {
    flush();
    deps.exitNow(code);
  };
  for (const warning of warnings) log.warn(`configuration: ${formatProblem(warning)}`);
  const lifecycle = createLifecycle(log);
  const timeoutMs = config.server.shutdown_timeout;
  let signalled = false;
  const stopped = untilStoppedBySignal({
    source: deps.signals,
    stop() {
      signalled = true;
      return lifecycle.stop(timeoutMs);
    },
    hangUp() {
      // A terminal that was closed sends the same signal.
      if (terminal !== null && !isatty(stdout.fd)) return false;
      // One that comes during the start is served after it, by what the file says then.
      void started.then((daemon) => daemon?.reload(load()));
      return true;
    },
    exitNow,
    log,
  });
  ignoreOtherSignals({ source: deps.signals, log });
  endOnFault({
    source: deps.faults,
    stop: () => lifecycle.stop(timeoutMs),
    exitNow,
    log,
  });
  const { version } = deps;
  const started = startOrUndo(lifecycle, timeoutMs, () =>
    deps.startDaemon({ config, tracing, log, eventLog, version, lifecycle }),
  ).catch((error: unknown) => {
    // A signal while it was starting is a stop in good order, too, whatever the start made of it.
    if (!signalled) throw error;
    return null;
  });
  await Promise.race([started, stopped]);
  const code = await stopped;
  log.info('stopped');
  flush();
  return code;
}
