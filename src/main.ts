#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { CommandLine } from './cli/command-line.ts';
import { EXIT } from './cli/exit.ts';
import { LocalVerbs } from './cli/local/local-verbs.ts';
import { outputOf } from './cli/output.ts';
import { runProgram } from './cli/program.ts';
import { reportError } from './cli/report.ts';
import { readCliEnv } from './config/cli-env.ts';
import { RunwatchError } from './core/errors.ts';
import { PACKAGE_ROOT } from './package-root.ts';

const env = readCliEnv();
const io = {
  stdout: outputOf(process.stdout, env),
  stderr: outputOf(process.stderr, env),
  stdin: process.stdin,
};
const stop = new AbortController();
const cli = new CommandLine(io, env, versionOfPackage(), interrupts);

// A closed pipe, as of `head`, is no error: the verb ends, unless it changes things. A full disk ends verbs
// with an error, but not the daemon, which works on, and keeps some of its log for later.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (stop.signal.aborted) return;
  if (error.code === 'EPIPE') {
    if (!cli.goesOnUnread)
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

function interrupts(): AbortSignal {
  handleSignal('SIGINT', { code: 'interrupted', exitCode: 130 });
  handleSignal('SIGTERM', { code: 'terminated', exitCode: 143 });
  return stop.signal;
}

try {
  const exitCode = await runProgram(process.argv.slice(2), cli, new LocalVerbs(cli));
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
