import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Redis } from 'ioredis';
import { createKeys } from '../../src/redis/keys.ts';

/** The first line of a recording. */
export interface RecordingHead {
  form: string;
  /** The version that wrote the store. */
  version: string;
  /** The time of the store when it was recorded, milliseconds since the epoch. */
  at: number;
  prefix: string;
  /** Opens the secrets that are in it. */
  encryptionKey: string;
}

/** A text, or bytes that are none. */
type Word = string | { base64: string };

/** A command that writes a key as it was recorded, and for how long it lasts from then on, ms. */
interface RecordedKey {
  command: Word[];
  ttl?: number;
}

/** The commands that write all keys of a prefix, which Redis 7.0 knows. Those of BullMQ may all be lost. */
export async function recordKeys(redis: Redis, prefix: string): Promise<RecordedKey[]> {
  const { queuePrefix } = createKeys(prefix);
  const keys = await redis.keys(`${queuePrefix}:*`);
  const recorded: RecordedKey[] = [];
  for (const key of keys.sort()) {
    if (key.startsWith(`${queuePrefix}:poll-`)) continue;
    const [words, ttl] = await Promise.all([wordsOf(redis, key), redis.pttl(key)]);
    recorded.push({ command: words.map(wordOf), ...(ttl >= 0 && { ttl }) });
  }
  return recorded;
}

async function wordsOf(redis: Redis, key: string): Promise<(string | Buffer)[]> {
  const type = await redis.type(key);
  switch (type) {
    case 'string':
      return ['SET', key, (await redis.getBuffer(key)) ?? ''];
    case 'hash':
      return ['HSET', key, ...((await redis.callBuffer('HGETALL', key)) as Buffer[])];
    case 'list':
      return ['RPUSH', key, ...(await redis.lrangeBuffer(key, 0, -1))];
    case 'set':
      return ['SADD', key, ...(await redis.smembersBuffer(key))];
    case 'zset': {
      const pairs = await redis.zrangeBuffer(key, '0', '-1', 'WITHSCORES');
      const swapped = pairs.flatMap((word, at) =>
        at % 2 === 0 ? [pairs[at + 1] ?? '', word] : [],
      );
      return ['ZADD', key, ...swapped];
    }
    default:
      throw new Error(`${key} is of the type ${type}`);
  }
}

function wordOf(word: string | Buffer): Word {
  const text = word.toString();
  return Buffer.from(text).equals(Buffer.from(word)) ? text : { base64: word.toString('base64') };
}

function bytesOf(word: Word): string | Buffer {
  return typeof word === 'string' ? word : Buffer.from(word.base64, 'base64');
}

/** The recorded store of a form. */
async function readRecording(form: string): Promise<{ head: RecordingHead; keys: RecordedKey[] }> {
  const text = await readFile(recordingPath(form), 'utf8');
  const [head = '', ...lines] = text.trimEnd().split('\n');
  return {
    head: JSON.parse(head) as RecordingHead,
    keys: lines.map((line) => JSON.parse(line) as RecordedKey),
  };
}

/** The forms of which there is a recorded store. */
export function recordedForms(): string[] {
  const names = readdirSync(new URL('.', recordingPath('')));
  return names.flatMap((name) => /^form-(\d+)\.jsonl$/.exec(name)?.[1] ?? []);
}

export function recordingPath(form: string): URL {
  return new URL(`../fixtures/store/form-${form}.jsonl`, import.meta.url);
}

/** Writes the recorded store of a form under a prefix, with the store's clock at the time of the recording. */
export async function loadRecording(
  redis: Redis,
  prefix: string,
  form: string,
): Promise<RecordingHead> {
  const { head, keys } = await readRecording(form);
  const [recorded, own] = [createKeys(head.prefix).queuePrefix, createKeys(prefix)];
  for (const { command, ttl } of keys) {
    const [name = '', key = '', ...rest] = command.map(bytesOf);
    const ownKey = own.queuePrefix + String(key).slice(recorded.length);
    await redis.call(String(name), ownKey, ...rest);
    if (ttl !== undefined) await redis.pexpire(ownKey, ttl);
  }
  const [, , steps = '0'] = (await redis.get(own.clock))?.split(' ') ?? [];
  // As if the host's clock was set back by far: the clock goes on at its highest time.
  await redis.set(own.clock, `${-head.at} ${head.at} ${steps}`);
  return head;
}
