import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { fileSink, LogOutput, type LogSink } from '../../src/telemetry/log-output.ts';
import { waitFor } from '../support/wait-for.ts';

const MIB = 1024 * 1024;

/** An output whose sink takes lines, keeps them, or fails. */
function openOutput({ stalledMs = 60_000 } = {}) {
  const read: string[] = [];
  const unread: { line: string; done: (error: unknown) => void }[] = [];
  const heard = { complaints: [] as string[], dropped: 0, writable: 0 };
  let mode: 'reads' | 'stalls' | 'fails' = 'reads';
  const sink: LogSink = (line, done) => {
    if (mode === 'stalls') return void unread.push({ line, done });
    if (mode === 'fails') return done(new Error('ENOSPC: no space left'));
    read.push(line);
    done(null);
  };
  const output = new LogOutput(
    sink,
    ({ trouble, droppedLines }) =>
      `gap ${trouble === null ? 'none' : trouble.reason} ${droppedLines}\n`,
    (text) => void heard.complaints.push(text),
    { now: () => 1, stalledMs, retryEveryMs: 5 },
  );
  output.listen({
    writable: () => void (heard.writable += 1),
    dropped: () => void (heard.dropped += 1),
  });
  return {
    output,
    read,
    unread,
    heard,
    stall: () => void (mode = 'stalls'),
    fail: () => void (mode = 'fails'),
    readOn() {
      mode = 'reads';
      const all = unread.splice(0);
      read.push(...all.map(({ line }) => line));
      for (const { done } of all) done(null);
    },
  };
}

describe('log output', () => {
  test('the log output writes lines in order, however they are to be written', async () => {
    const { output, read } = openOutput();
    output.write('a\n');
    const written = output.deliver('b\n');
    output.write('c\n');
    await written;
    expect(read).toEqual(['a\n', 'b\n', 'c\n']);
  });

  test('the log output keeps 4 MiB for a stalled reader, drops and counts further lines, and says so', () => {
    const { output, read, unread, heard, stall, readOn } = openOutput();
    stall();
    const line = `${'x'.repeat(1_023)}\n`;
    for (let number = 0; number < 8_192; number += 1) output.write(line);
    expect(unread).toHaveLength(64);
    expect(heard.dropped).toBe(4_096);
    readOn();
    expect(read.filter((one) => one === line)).toHaveLength((4 * MIB) / line.length);
    expect(read.filter((one) => one !== line)).toEqual(['gap none 4096\n']);
    output.write('next\n');
    expect(read.at(-1)).toBe('next\n');
  });

  test('the log output never drops a line that must be written', async () => {
    const { output, heard, stall, readOn } = openOutput();
    stall();
    const line = `${'x'.repeat(MIB)}\n`;
    const written = Array.from({ length: 8 }, () => output.deliver(line));
    output.write('dropped\n');
    readOn();
    await Promise.all(written);
    expect(heard.dropped).toBe(1);
  });

  test('the log output gives lines that must be written back once its reader stalls, and takes them after', async () => {
    const { output, read, heard, stall, readOn } = openOutput({ stalledMs: 5 });
    stall();
    output.write('entry\n');
    const reason = 'its reader has read nothing for 0.005 s';
    await expect(output.deliver('first\n')).rejects.toThrow(reason);
    expect(output.trouble()).toEqual({ reason, since: 1 });
    expect(heard.complaints).toEqual([`the log cannot be written: ${reason}`]);
    await expect(output.deliver('second\n')).rejects.toThrow(reason);
    output.write('kept\n');
    readOn();
    expect(output.trouble()).toBeNull();
    expect(heard.writable).toBe(1);
    await output.deliver('second\n');
    expect(read.filter((line) => !line.startsWith('gap'))).toEqual([
      'entry\n',
      'first\n',
      'kept\n',
      'second\n',
    ]);
  });

  test('the log output tries a failed write again until it succeeds, and says so once', async () => {
    const { output, read, heard, fail, readOn } = openOutput();
    fail();
    await expect(output.deliver('event\n')).rejects.toThrow('ENOSPC');
    output.write('one\n');
    output.write('two\n');
    expect(heard.complaints).toEqual(['the log cannot be written: ENOSPC: no space left']);
    readOn();
    await waitFor(() => output.trouble() === null);
    expect(read).toEqual(['gap ENOSPC: no space left 0\n', 'one\n', 'two\n']);
    expect(heard).toMatchObject({ dropped: 0, writable: 1 });
  });

  test('the log output keeps a line whose write failed before later lines', async () => {
    const { output, read, fail, readOn } = openOutput();
    fail();
    for (const line of ['one\n', 'two\n', 'three\n']) output.write(line);
    readOn();
    await waitFor(() => output.trouble() === null);
    expect(read.slice(1)).toEqual(['one\n', 'two\n', 'three\n']);
  });
});

describe('file sink', () => {
  test('a file takes whole lines', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
    const path = join(dir, 'log');
    const fd = openSync(path, 'a');
    const errors: unknown[] = [];
    const sink = fileSink(fd);
    for (const line of ['one\n', 'zwei, größer\n']) sink(line, (error) => void errors.push(error));
    closeSync(fd);
    sink('three\n', (error) => void errors.push(error));
    expect(readFileSync(path, 'utf8')).toBe('one\nzwei, größer\n');
    expect(errors).toEqual([null, null, expect.objectContaining({ code: 'EBADF' })]);
    await rm(dir, { recursive: true });
  });

  test('a full disk is the error of the line that it did not take', () => {
    const fd = openSync('/dev/full', 'a');
    const errors: unknown[] = [];
    fileSink(fd)('one\n', (error) => void errors.push(error));
    closeSync(fd);
    expect(errors).toEqual([expect.objectContaining({ code: 'ENOSPC' })]);
  });
});
