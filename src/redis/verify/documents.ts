import type { Redis } from 'ioredis';
import { HASH, LIST, SORTED_SET, type Structure } from './structures.ts';

/** Records that stand in many places of one key. */
interface Documents {
  structure: Structure;
  in: 'name' | 'value';
  /** It has no JSON but what is sealed, which only a process with the key can open. */
  isSealed?: true;
}

const MEMBERS: Documents = { structure: SORTED_SET, in: 'name' };
const FIELDS: Documents = { structure: HASH, in: 'value' };
const ITEMS: Documents = { structure: LIST, in: 'name' };
const SEALED: Documents = { ...FIELDS, isSealed: true };

/** Form, key, initialisation vector, ciphertext. */
const SEALED_TEXT = /^v1(?:\.[\w-]+){3}$/;

/**
 * Where records keep their JSON, beside those that have places elsewhere, by the first word of their keys: in a
 * string, in the field `doc` of a hash with a version, or in many places of one key.
 */
const DOCUMENTS: Readonly<Record<string, 'string' | 'doc' | Documents>> = {
  audit: MEMBERS,
  'process-info': FIELDS,
  'list-plan': 'string',
  'list-hints': FIELDS,
  'discovery-cursor': 'string',
  'discovery-trouble': 'string',
  source: 'string',
  'source-consistency': 'string',
  'run-figures': FIELDS,
  'node-names': FIELDS,
  'endpoint-secrets': SEALED,
  'endpoint-state': 'doc',
  slots: 'string',
  'alert-inbox': ITEMS,
  silences: FIELDS,
};

/** Reads a record with JSON. Does nothing for keys of other kinds. @throws Error where it cannot be read */
export async function readDocument(redis: Redis, kind: string, key: string): Promise<void> {
  const form = Object.hasOwn(DOCUMENTS, kind) ? DOCUMENTS[kind] : undefined;
  if (form === undefined) return;
  if (typeof form === 'string') {
    const text = await (form === 'string' ? redis.get(key) : redis.hget(key, 'doc'));
    // A hash that was begun for its counts alone has no document yet.
    if (text !== null) JSON.parse(text);
    return;
  }
  for await (const page of form.structure.pages(redis, key)) {
    for (const found of page) {
      if (form.isSealed !== true) JSON.parse(found[form.in]);
      else if (!SEALED_TEXT.test(found[form.in])) throw new Error('expected a sealed text');
    }
  }
}
