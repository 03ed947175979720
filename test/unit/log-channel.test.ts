import { describe, expect, test } from '@jest/globals';
import { EVENT_TYPES, SYSTEM_EVENT_TYPES } from '../../src/core/event/event.ts';
import { createLogChannel, type EventLogger } from '../../src/deliver/channels/log.ts';

interface Line {
  level: string;
  fields: unknown;
  msg: string;
}

function recorder(): { lines: Line[]; logger: EventLogger } {
  const lines: Line[] = [];
  const at = (level: string) => (fields: unknown, msg: string) => {
    lines.push({ level, fields, msg });
  };
  const logger = {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  };
  return { lines, logger };
}

describe('log channel', () => {
  test('the log channel writes the type as message and the body as an object, and delivers', async () => {
    const { lines, logger } = recorder();
    const channel = createLogChannel({ logger, level: 'info', now: () => 5 });
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
    const { lines, logger } = recorder();
    const channel = createLogChannel({ logger, level: 'debug', now: () => 0 });
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
      'run.resumed',
      'run.stalled',
      'run.started',
      'run.status_unknown',
    ]);
  });

  test('the log channel writes system events at the level of the endpoint', async () => {
    const { lines, logger } = recorder();
    const channel = createLogChannel({ logger, level: 'info', now: () => 0 });
    for (const eventType of SYSTEM_EVENT_TYPES)
      await channel.send({ eventId: 'e', eventType, body: '{}' });
    expect(new Set(lines.map(({ level }) => level))).toEqual(new Set(['info']));
  });
});
