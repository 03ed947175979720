#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import {
  outputOf,
  type CliHost,
  type CliDependencies,
  type RunReader,
  type RunReaderSettings,
} from './cli/context.ts';
import { EXIT } from './cli/exit.ts';
import { runProgram } from './cli/program.ts';
import { reportError } from './cli/report.ts';
import { readCliEnv } from './config/cli-env.ts';
import { RunwatchError } from './core/errors.ts';
import type { DaemonOptions } from './daemon.ts';
import { PACKAGE_ROOT } from './package-root.ts';

const env = readCliEnv();
const io = {
  stdout: outputOf(process.stdout, env),
  stderr: outputOf(process.stderr, env),
  stdin: process.stdin,
};
const stop = new AbortController();

// A closed pipe, as of `head`, is no error: the verb ends. A full disk ends verbs with an error, but not
// the daemon, which works on, and keeps some of its log for later.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (stop.signal.aborted) return;
  if (error.code === 'EPIPE') {
    stop.abort(new RunwatchError('the output was closed', { code: 'output_closed' }));
    return;
  }
  const failed = new RunwatchError(`cannot write to stdout: ${error.message}`, {
    code: 'output_failed',
    cause: error,
  });
  reportError(io.stderr, failed, { verbose: false });
  process.exitCode = EXIT.failure;
  stop.abort(failed);
});

// What stderr does not take is lost: there is nowhere left to say so.
process.stderr.on('error', () => undefined);

const host: CliHost = {
  io,
  env,
  version: versionOfPackage(),
  now: Date.now,
  random: Math.random,
  startupMs: 5_000,
  interrupts() {
    handleSignal('SIGINT', { code: 'interrupted', exitCode: 130 });
    handleSignal('SIGTERM', { code: 'terminated', exitCode: 143 });
    return stop.signal;
  },
};

try {
  const exitCode = await runProgram(process.argv.slice(2), host, dependencies());
  process.exitCode = exitCode === EXIT.ok ? (process.exitCode ?? EXIT.ok) : exitCode;
} catch (error) {
  reportError(io.stderr, error, { verbose: process.argv.includes('--verbose') });
  process.exitCode = EXIT.failure;
}

/** The first signal aborts the verb; a second one ends the process at once. */
function handleSignal(
  signal: NodeJS.Signals,
  { code, exitCode }: { code: string; exitCode: number },
): void {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(exitCode);
    stop.abort(new RunwatchError(`stopped by ${signal}`, { code }));
  });
}

function versionOfPackage(): string {
  const text = readFileSync(new URL('package.json', PACKAGE_ROOT), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

async function inspect({ configPath }: { configPath: string | undefined }) {
  const { inspectInstallation } = await import('./cli/local/doctor.ts');
  return inspectInstallation(configPath, {
    async probeRedis(config) {
      const { probeRedis } = await import('./daemon/redis.ts');
      return probeRedis(config);
    },
    async findOwnServer() {
      const { findOwnServer } = await import('./daemon/redis.ts');
      return findOwnServer();
    },
    createRunReader,
    version: host.version,
  });
}

/** Each verb loads its modules when it runs: a list must not wait for a database client. */
function dependencies(): CliDependencies {
  return {
    createRunReader,
    async serve(options) {
      const { serve } = await import('./cli/local/serve.ts');
      const { stdout, stderr } = process;
      const exitCode = await serve(options, {
        startDaemon,
        signals: process,
        faults: process,
        exitNow: (code) => process.exit(code),
        version: host.version,
        stdout,
        // A terminal is a socket, too.
        isFile: !(stdout instanceof Socket),
        stderr,
        hasColors: io.stdout.colors.isColorSupported,
      });
      // A part that did not stop in time must not keep the process alive.
      return process.exit(exitCode);
    },
    async showConfig(options) {
      const { showConfig } = await import('./cli/local/config.ts');
      return showConfig(options, io);
    },
    async readRules(configPath) {
      const { readRulesFile } = await import('./cli/local/rules.ts');
      return readRulesFile(configPath, io);
    },
    async reencrypt(options) {
      const { reencryptVerb } = await import('./cli/local/reencrypt.ts');
      const { reencryptStored } = await import('./deliver/secrets/own-secrets.ts');
      return reencryptVerb(options, { reencryptStored, io });
    },
    inspect,
    async listen(options) {
      const { listen } = await import('./cli/local/listen.ts');
      await listen({ ...options, write });
      return EXIT.ok;
    },
    async simulate(options) {
      const { simulate } = await import('./cli/local/simulate.ts');
      await simulate({ ...options, write });
      return EXIT.ok;
    },
    async demo(options) {
      const signal = host.interrupts();
      // A terminal that is closed would otherwise leave the Redis of the demo behind.
      handleSignal('SIGHUP', { code: 'terminated', exitCode: 143 });
      const { runDemo } = await import('./demo/demo.ts');
      const exitCode = await runDemo(options, {
        startDaemon,
        io,
        usualUrl: env.daemonUrl,
        version: host.version,
        signal,
      });
      // As for `serve`.
      return process.exit(exitCode);
    },
  };
}

/** Loads the daemon only for a configuration that is right, with the handlers of signals in place. */
async function startDaemon(options: DaemonOptions) {
  const daemon = await import('./daemon.ts');
  return daemon.startDaemon(options);
}

function write(line: string): void {
  io.stdout.write(`${line}\n`);
}

async function createRunReader(settings: RunReaderSettings): Promise<RunReader> {
  const { createNoxusClient } = await import('./noxus/client.ts');
  const { createEventStreams } = await import('./noxus/event-stream.ts');
  const client = createNoxusClient(settings);
  const streams = createEventStreams({
    ...settings,
    maxSockets: settings.maxStreams,
    now: Date.now,
  });
  return {
    readRun: client.readRun,
    follow: streams.follow,
    close() {
      client.close();
      streams.close();
    },
  };
}
