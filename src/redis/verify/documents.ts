import type { Redis } from 'ioredis';
import type { Keys } from '../keys.ts';

/** How the JSON of a kind of record is kept. */
type Form =
  | 'string'
  | 'list'
  | 'members of a sorted set'
  | 'fields of a hash'
  /** Of a hash with a version. */
  | 'doc';

/** Records with JSON, beside those of watches, events and deliveries, by the first word of their keys. */
const DOCUMENTS: Readonly<Record<string, Form>> = {
  audit: 'members of a sorted set',
  'process-info': 'fields of a hash',
  'list-plan': 'string',
  'list-hints': 'fields of a hash',
  'discovery-cursor': 'string',
  'discovery-trouble': 'string',
  source: 'string',
  'source-consistency': 'string',
  'run-figures': 'fields of a hash',
  'node-names': 'fields of a hash',
  'endpoint-secrets': 'fields of a hash',
  'endpoint-state': 'doc',
  slots: 'string',
  'alert-inbox': 'list',
  'alert-group': 'doc',
  alert: 'string',
  silences: 'fields of a hash',
  batch: 'doc',
};

/** Members that one command reads. */
const READ_AT_ONCE = 500;

/** Reads a record with JSON. Does nothing for keys of other kinds. @throws Error where it cannot be read */
export async function readDocument(redis: Redis, kind: string, key: string): Promise<void> {
  const form = Object.hasOwn(DOCUMENTS, kind) ? DOCUMENTS[kind] : undefined;
  if (form === undefined) return;
  for await (const texts of textsOf(redis, form, key)) {
    for (const text of texts) if (text !== null) JSON.parse(text);
  }
}

async function* textsOf(redis: Redis, form: Form, key: string): AsyncIterable<(string | null)[]> {
  switch (form) {
    case 'string':
      yield [await redis.get(key)];
      return;
    case 'doc':
      // A hash that was begun for its counts alone has none yet.
      yield [await redis.hget(key, 'doc')];
      return;
    case 'list':
      yield* pagesOfList(redis, key);
      return;
    case 'members of a sorted set':
      for await (const flat of scanned((at) => redis.zscan(key, at, 'COUNT', READ_AT_ONCE))) {
        yield flat.filter((_, at) => at % 2 === 0);
      }
      return;
    case 'fields of a hash':
      for await (const flat of scanned((at) => redis.hscan(key, at, 'COUNT', READ_AT_ONCE))) {
        yield flat.filter((_, at) => at % 2 === 1);
      }
  }
}

/** The items of a list, a page at a time. */
export async function* pagesOfList(redis: Redis, key: string): AsyncIterable<string[]> {
  for (let from = 0; ; from += READ_AT_ONCE) {
    const texts = await redis.lrange(key, from, from + READ_AT_ONCE - 1);
    yield texts;
    if (texts.length < READ_AT_ONCE) return;
  }
}

/** What a scan of one key finds, a page at a time. */
export async function* scanned<Item>(
  scan: (cursor: string) => Promise<[cursor: string | Buffer, items: Item[]]>,
): AsyncIterable<Item[]> {
  let cursor = '0';
  do {
    const [next, items] = await scan(cursor);
    yield items;
    cursor = String(next);
  } while (cursor !== '0');
}

/** Members of sorted sets, and of a hash, that name records of another kind. */
export function references(
  keys: Keys,
): readonly { in: string; are: 'zset' | 'values'; to: (name: string) => string }[] {
  const { batch, resolvedAlert } = keys;
  return [
    { in: keys.batches, are: 'zset', to: batch },
    { in: keys.batchesDue, are: 'zset', to: batch },
    { in: keys.batchesIdle, are: 'zset', to: batch },
    { in: keys.batchNames, are: 'values', to: batch },
    { in: keys.alertsResolved, are: 'zset', to: resolvedAlert },
  ];
}
