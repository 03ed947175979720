import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from '@jest/globals';
import { createLogger, type Logger, createLineFormatter } from '../../src/telemetry/logger.ts';

const TIME = /^\d\d:\d\d:\d\d\.\d{3}Z /;

/** What a logger on a terminal writes, without the times. */
async function written(
  use: (log: Logger) => void,
  terminal: { colors: boolean } | null = { colors: false },
): Promise<string[]> {
  const destination = new PassThrough();
  use(createLogger({ level: 'debug', terminal, destination }));
  destination.end();
  const lines = (await text(destination)).trimEnd().split('\n');
  return lines.map((line) => line.replace(TIME, ''));
}

describe('log on a terminal', () => {
  test('an entry is one line of level, message and fields, without what is null or empty', async () => {
    const lines = await written((log) => {
      log.info({ url: 'http://127.0.0.1:8787', sources: ['a', 'b'], until: null }, 'ready');
      log.warn({ source: 'default', message: 'it said "no"', list: [], more: {} }, 'source.paused');
    });
    expect(lines).toEqual([
      'info  ready url=http://127.0.0.1:8787 sources=a,b',
      `warn  source.paused source=default message="it said 'no'"`,
    ]);
  });

  test('a poll shows run, status and event types, and no ids of programs', async () => {
    const fields = {
      run_id: 'run-1',
      state: 'active',
      status: 'running',
      polls: 3,
      next_poll_at: 'x',
    };
    const events = [{ id: 'evt_1', type: 'run.started' }];
    const lines = await written((log) => {
      log.info({ ...fields, events }, 'poll');
    });
    expect(lines).toEqual(['info  poll run_id=run-1 status=running events=run.started']);
  });

  test('a delivery shows the message of its error', async () => {
    const error = { code: 'http_status', message: 'answered 503' };
    const lines = await written((log) => {
      log.warn({ delivery_id: 'dlv_1', endpoint: 'ops', error }, 'delivery');
    });
    expect(lines).toEqual(['warn  delivery endpoint=ops error="answered 503"']);
  });

  test('an error object shows its message alone', async () => {
    const [line] = await written((log) => {
      log.error({ err: new Error('boom'), socket: '/tmp/x' }, 'it failed');
    });
    expect(line).toBe('error it failed err=boom socket=/tmp/x');
  });

  test('the event of a log endpoint is one line of its run, delay and metadata', async () => {
    const data = {
      run_id: 'run-1',
      run: { workflow_id: 'wf-1', status: 'failed', progress: 60 },
      workflow_name: 'invoices',
      detection_delay_ms: 812,
      watch: { source: 'default', metadata: { team: 'ml' } },
    };
    const lines = await written((log) => {
      log.error({ event: { id: 'evt_1', type: 'run.failed', data } }, 'run.failed');
      log.info(
        { event: { id: 'evt_2', data: { source: 'b', since: '2026' } } },
        'source.recovered',
      );
    });
    expect(lines).toEqual([
      'error run.failed run_id=run-1 workflow=invoices progress=60 detection_delay_ms=812 source=default team=ml',
      'info  source.recovered source=b since=2026',
    ]);
  });

  test('control characters of foreign texts do not reach the terminal, and long texts are cut', async () => {
    const nasty = '\u001b[2Jx\ny\u202e';
    const lines = await written((log) => {
      log.warn({ [nasty]: nasty, long: 'x'.repeat(1_000), nested: { message: nasty } }, nasty);
    });
    expect(lines).toHaveLength(1);
    // oxlint-disable-next-line no-control-regex
    expect(lines[0]).not.toMatch(/[\u0000-\u001f\u007f\u202e]/);
    expect(lines[0]?.length).toBeLessThan(450);
  });

  test('colours come only where they are asked for', async () => {
    const use = (log: Logger) => {
      log.error('boom');
    };
    expect((await written(use, { colors: true })).join('')).toContain('\u001b[31merror');
    expect((await written(use)).join('')).not.toContain('\u001b');
  });

  test('a line that is no JSON passes unchanged', () => {
    expect(createLineFormatter({ colors: false })('as it is\n')).toBe('as it is\n');
  });
});

describe('log off a terminal', () => {
  test('each entry is one JSON object', async () => {
    const [line = ''] = await written((log) => {
      log.info({ event: { type: 'run.completed' } }, 'run.completed');
    }, null);
    expect(JSON.parse(line)).toMatchObject({ level: 'info', msg: 'run.completed' });
  });
});
