import { createHash, randomUUID } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Sealer } from '../../deliver/secrets/seal.ts';
import type { KeptAnswer, RepeatService } from '../../http/idempotency.ts';
import type { AnswerStore } from '../../redis/stores/answer-store.ts';

const KEEP_MS = 86_400_000;

/** Longer than the deadline of every route: after it, the process that handled a request has died. */
const LEASE_MS = 60_000;

/** The record of one request; the answer is null until it is finished. */
interface StoredAnswer {
  fingerprint: string;
  answer: string | null;
}

/** The record before the answer. Its own name differs from that of a repeat after the lease. */
interface BegunAnswer extends StoredAnswer {
  by: string;
}

/** Stores the answers to requests with an idempotency key, encrypted, since they may hold secrets. */
export function createRepeatService(
  answers: Pick<AnswerStore, 'begin' | 'keep' | 'release'>,
  sealer: Sealer,
): RepeatService {
  return {
    async begin({ owner, scope, key, request }) {
      const id = `${owner}.${digest(owner, ...scope, key)}`;
      const fingerprint = digest(request);
      const begun: BegunAnswer = { fingerprint, answer: null, by: randomUUID() };
      const text = JSON.stringify(begun);
      const held = await answers.begin(id, text, LEASE_MS);
      if (held === null) {
        return {
          kind: 'first',
          async keep(answer) {
            const record = { fingerprint, answer: pack(answer, sealer, id) };
            await answers.keep(id, text, JSON.stringify(record), KEEP_MS);
          },
          release: () => answers.release(id, text),
        };
      }
      const stored = JSON.parse(held) as StoredAnswer;
      if (stored.fingerprint !== fingerprint) return { kind: 'other_request' };
      if (stored.answer === null) return { kind: 'in_progress' };
      return { kind: 'repeat', answer: unpack(stored.answer, sealer, id) };
    },
  };
}

/** The answer to a batch has up to some MiB of repetitive text. */
function pack(answer: KeptAnswer, sealer: Sealer, id: string): string {
  const zipped = gzipSync(JSON.stringify(answer)).toString('base64');
  return sealer.seal({ zipped }, id);
}

function unpack(text: string, sealer: Sealer, id: string): KeptAnswer {
  const { zipped } = sealer.open(text, id) as { zipped: string };
  return JSON.parse(gunzipSync(Buffer.from(zipped, 'base64')).toString()) as KeptAnswer;
}

function digest(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}
