import { Socket } from 'node:net';
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
import type { CommandLine } from '../command-line.ts';
import { EXIT } from '../exit.ts';

/** Flags of `serve`; they win over environment and file. */
export interface ServeOptions {
  configPath?: string;
  host?: string;
  port?: number;
  dataDir?: string;
  logLevel?: string;
  /** Refuses to start where the configuration cannot work. */
  strict?: boolean;
  /** False observes and shows, and sends nothing. */
  deliver?: boolean;
}

/** Starts the daemon, and has the lifecycle stop it. */
type StartDaemon = (options: {
  config: Config;
  tracing: LoadedConfig['tracing'];
  rereadHeaders: LoadedConfig['rereadHeaders'];
  log: Logger;
  eventLog: EventLog;
  version: string;
  deliver: boolean | undefined;
  lifecycle: Lifecycle;
}) => Promise<{ reload(loaded: LoadedConfig | InvalidConfig): void }>;

/** The part of `process` that signals and faults come from, and that ends it. */
type ServedProcess = SignalSource &
  Parameters<typeof ignoreOtherSignals>[0]['source'] &
  Parameters<typeof endOnFault>[0]['source'] & { exit(code: number): void };

/**
 * Runs the daemon until a signal ends it; SIGHUP reads the configuration again.
 * Throws RunwatchError by which it cannot go on.
 * @returns the exit code: 0 after a stop in good order, 2 for a configuration that is wrong
 */
export async function serve(
  cli: CommandLine,
  options: ServeOptions,
  startDaemon: StartDaemon,
  host: ServedProcess,
): Promise<number> {
  const { configPath, strict, deliver, ...flags } = options;
  const load = () => loadConfig({ purpose: 'serve', flags, configPath, strict });
  const loaded = load();
  if (loaded.kind === 'invalid') {
    cli.io.stderr.write(renderInvalid(loaded));
    return EXIT.usage;
  }
  const { config, warnings, tracing, rereadHeaders } = loaded;
  const { stdout, stderr } = cli.io;
  const { fd, stream } = stdout;
  const terminal = stdout.isTty ? { colors: stdout.colors.isColorSupported } : null;
  // Events for log endpoints are no diagnostics, so the log level does not filter them.
  // A pipe and a terminal are sockets, too.
  const isFile = fd !== undefined && !(stream instanceof Socket);
  const sink = isFile ? fileSink(fd) : streamSink(stream);
  const complain = (text: string) => stderr.write(`runwatch: ${text}\n`);
  const { log, eventLog, flush } = openProcessLog(sink, complain, {
    level: config.log.level,
    terminal,
  });
  const exitNow = (code: number) => {
    flush();
    host.exit(code);
  };
  for (const warning of warnings) log.warn(`configuration: ${formatProblem(warning)}`);
  const lifecycle = createLifecycle(log);
  const timeoutMs = config.server.shutdown_timeout;
  let signalled = false;
  const stopped = untilStoppedBySignal({
    source: host,
    stop() {
      signalled = true;
      return lifecycle.stop(timeoutMs);
    },
    hangUp() {
      // A terminal that was closed sends the same signal.
      if (terminal !== null && fd !== undefined && !isatty(fd)) return false;
      // One that comes during the start is served after it, by what the file says then.
      void started.then(
        (daemon) => daemon?.reload(load()),
        // Why it did not start is said by the start itself.
        () => undefined,
      );
      return true;
    },
    exitNow,
    log,
  });
  ignoreOtherSignals({ source: host, log });
  endOnFault({
    source: host,
    stop: () => lifecycle.stop(timeoutMs),
    exitNow,
    log,
  });
  const { version } = cli;
  const started = startOrUndo(lifecycle, timeoutMs, () =>
    startDaemon({ config, tracing, rereadHeaders, log, eventLog, version, deliver, lifecycle }),
  ).catch((error: unknown) => {
    // A signal while it was starting is a stop in good order, too, whatever the start made of it.
    if (!signalled) throw error;
    return null;
  });
  await Promise.race([started, stopped, lifecycle.failed]);
  const code = await Promise.race([stopped, lifecycle.failed]);
  if (typeof code !== 'number') {
    await lifecycle.stop(timeoutMs);
    flush();
    throw code;
  }
  log.info('stopped');
  flush();
  return code;
}
