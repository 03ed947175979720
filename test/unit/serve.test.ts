import { EventEmitter } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { CommandLine } from '../../src/cli/command-line.ts';
import { serve } from '../../src/cli/local/serve.ts';
import { outputOf } from '../../src/cli/output.ts';
import { readCliEnv } from '../../src/config/cli-env.ts';

let dir: string;

beforeEach(async () => {
  // The suite's own variables would be warned of as misspelt ones.
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('RUNWATCH_')) delete process.env[name];
  }
  dir = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const EVENT = { id: 'evt_1', type: 'run.completed', data: { run_id: 'run-1' } };

/** What `serve` writes of one entry of each log, to a terminal or elsewhere. */
async function written(isTTY: boolean): Promise<string[]> {
  const configPath = join(dir, 'runwatch.yaml');
  await writeFile(configPath, `data_dir: ${dir}\nsources: { default: { api_key: k } }\n`);
  const host = Object.assign(new EventEmitter(), { exit: () => undefined });
  const stdout = Object.assign(new PassThrough(), { isTTY });
  const env = readCliEnv({ NO_COLOR: '1' });
  const io = {
    stdout: outputOf(stdout, env),
    stderr: outputOf(new PassThrough(), env),
    stdin: new PassThrough(),
  };
  const cli = new CommandLine(io, env, '1.2.3', () => new AbortController().signal);
  const start: Parameters<typeof serve>[2] = async ({ log, eventLog }) => {
    log.info({ url: 'http://127.0.0.1:8787' }, 'ready');
    await eventLog.write('info', { event: EVENT }, 'run.completed');
    setImmediate(() => host.emit('SIGTERM', 'SIGTERM'));
    return { reload: () => undefined };
  };
  const exitCode = await serve(cli, { configPath }, start, host);
  expect(exitCode).toBe(0);
  stdout.end();
  return (await text(stdout)).trimEnd().split('\n');
}

test('serve on a terminal writes a readable line for each entry and event', async () => {
  const lines = await written(true);
  expect(lines.map((line) => line.slice('12:00:00.000Z '.length))).toEqual([
    'info  ready url=http://127.0.0.1:8787',
    'info  run.completed run_id=run-1',
    'info  stopping; a second signal ends the process at once signal=SIGTERM',
    'info  stopped',
  ]);
});

test('serve elsewhere writes a JSON object for each entry and event', async () => {
  const entries = (await written(false)).map((line) => JSON.parse(line) as object);
  expect(entries).toMatchObject([
    { level: 'info', msg: 'ready', url: 'http://127.0.0.1:8787' },
    { level: 'info', msg: 'run.completed', event: EVENT },
    { msg: expect.stringContaining('stopping') },
    { msg: 'stopped' },
  ]);
});
