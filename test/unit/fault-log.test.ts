import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import { faultLog } from '../../src/fault-log.ts';
import type { Logger } from '../../src/telemetry/logger.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function collect() {
  const lines: [level: string, fields: object, message: string][] = [];
  const at = (level: string) => (fields: object, message: string) => {
    lines.push([level, fields, message]);
  };
  return { lines, log: { debug: at('debug'), warn: at('warn') } as unknown as Logger };
}

test('a repeated fault is one log line every 10 s with a count', () => {
  const { lines, log } = collect();
  const onError = faultLog(log, 'queue', { queue: 'poll' });
  for (let ms = 0; ms < 15_000; ms += 1) {
    onError(new Error('WRONGTYPE'));
    jest.advanceTimersByTime(1);
  }
  const common = { queue: 'poll', error: 'WRONGTYPE' };
  expect(lines).toEqual([
    ['warn', common, 'queue'],
    ['warn', { ...common, times: 9_999 }, 'queue'],
    ['warn', common, 'queue'],
  ]);
});

test('faults with different messages are logged separately up to a bound', () => {
  const { lines, log } = collect();
  const onError = faultLog(log, 'poll');
  for (let run = 0; run < 5_000; run += 1) onError(new Error(`run-${run}`));
  expect(lines).toHaveLength(51);
});

test.each([
  ['EROFS', 'open', 'warn'],
  ['ENOSPC', 'write', 'warn'],
  ['EACCES', 'mkdir', 'warn'],
  ['EIO', 'read', 'warn'],
  ['ECONNREFUSED', 'connect', 'debug'],
  ['ENOENT', 'connect', 'debug'],
  ['ENOTFOUND', 'getaddrinfo', 'debug'],
  ['ECONNRESET', 'read', 'debug'],
  ['EPIPE', 'write', 'debug'],
])('the fault %s of the system call %s is logged at %s', (code, syscall, level) => {
  const { lines, log } = collect();
  faultLog(log, 'store_file')(Object.assign(new Error(`${code}: ${syscall}`), { code, syscall }));
  expect(lines.map(([found]) => found)).toEqual([level]);
});

test('an unreachable or refusing Redis is not logged as a fault of the work', () => {
  const { lines, log } = collect();
  const onError = faultLog(log, 'poll');
  const replyError = (message: string) => Object.assign(new Error(message), { name: 'ReplyError' });
  onError(new RunwatchError('x', { code: 'redis_refuses', retriable: true }));
  onError(replyError("OOM command not allowed when used memory > 'maxmemory'."));
  onError(replyError('MISCONF Errors writing to the AOF file: No space left on device'));
  onError(replyError('NOPERM this user has no permissions'));
  onError(
    replyError(
      'ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed',
    ),
  );
  onError(replyError("ERR The user executing the script can't run this command or subcommand"));
  onError(
    replyError("ERR ACL failure in script: User rw has no permissions to run the 'zadd' command"),
  );
  expect(lines.map(([level]) => level)).toEqual(Array.from({ length: 7 }, () => 'debug'));
  onError(replyError('WRONGTYPE Operation against a key'));
  expect(lines.at(-1)?.[0]).toBe('warn');
});
