import { describe, expect, test } from '@jest/globals';
import { EVENT_TYPES, SYSTEM_EVENT_TYPES } from '../../src/core/event/event.ts';
import { createLogChannel } from '../../src/deliver/channels/log.ts';
import type { EventLog } from '../../src/telemetry/logger.ts';
import { eventLogTo } from '../support/event-log.ts';

interface Line {
  level: string;
  fields: unknown;
  msg: string;
}

function recorder(): { lines: Line[]; log: EventLog } {
  const lines: Line[] = [];
  return { lines, log: eventLogTo((level, fields, msg) => lines.push({ level, fields, msg })) };
}

describe('log channel', () => {
  test('the log channel writes the type as message and the body as an object, and delivers', async () => {
    const { lines, log } = recorder();
    const channel = createLogChannel(log, 'info', () => 5);
    const body = '{"id":"evt_1","data":{"run_id":"r"}}';
    const outcome = await channel.send({ eventId: 'evt_1', eventType: 'run.completed', body });
    const fields = { event: { id: 'evt_1', data: { run_id: 'r' } } };
    expect(lines).toEqual([{ level: 'info', fields, msg: 'run.completed' }]);
    expect(outcome).toEqual({
      kind: 'delivered',
      attempt: { at: 5, status: null, error: null, durationMs: 0, response: null },
    });
  });

  test('the log channel takes the level of the contract, else that of the endpoint', async () => {
    const { lines, log } = recorder();
    const channel = createLogChannel(log, 'debug', () => 0);
    for (const eventType of EVENT_TYPES)
      await channel.send({ eventId: 'e', eventType, body: '{}' });
    const of = (level: string) =>
      lines.filter((line) => line.level === level).map(({ msg }) => msg);
    expect(of('error')).toEqual(['run.failed']);
    expect(of('warn').sort()).toEqual([
      'run.awaiting_human_feedback',
      'run.gone',
      'run.stopped',
      'watch.expired',
      'watch.recovered',
      'watch.unreachable',
    ]);
    expect(of('debug').sort()).toEqual([
      'run.completed',
      'run.progress',
      'run.recovered',
      'run.restarted',
      'run.resumed',
      'run.stalled',
      'run.started',
      'run.status_unknown',
    ]);
  });

  test('the log channel writes system events at the level of the endpoint', async () => {
    const { lines, log } = recorder();
    const channel = createLogChannel(log, 'info', () => 0);
    for (const eventType of SYSTEM_EVENT_TYPES)
      await channel.send({ eventId: 'e', eventType, body: '{}' });
    expect(new Set(lines.map(({ level }) => level))).toEqual(new Set(['info']));
  });

  test('the log channel delivers once the line is written, and makes no attempt of a failed write', async () => {
    const results = ['ENOSPC', null];
    const write = async () => {
      const error = results.shift();
      if (typeof error === 'string') throw new Error(error);
    };
    const log = { write };
    const channel = createLogChannel(log, 'info', () => 0);
    const message = { eventId: 'e', eventType: 'run.failed' as const, body: '{}' };
    await expect(channel.send(message)).rejects.toMatchObject({
      code: 'log_unwritable',
      message: 'the log cannot be written: ENOSPC',
    });
    await expect(channel.send(message)).resolves.toMatchObject({ kind: 'delivered' });
  });

  test('the log channel ends an attempt that is aborted while the line waits', async () => {
    const log = { write: () => new Promise<void>(() => undefined) };
    const channel = createLogChannel(log, 'info', () => 0);
    const stopping = new AbortController();
    const sent = channel.send(
      { eventId: 'e', eventType: 'run.failed', body: '{}' },
      stopping.signal,
    );
    stopping.abort();
    await expect(sent).rejects.toMatchObject({ code: 'attempt_aborted' });
  });
});
