import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { FastifyReply, RouteOptions } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import { z } from 'zod';
import type { TokenConfig } from '../config/schema.ts';
import type { Sealer } from '../deliver/secrets/seal.ts';
import type { AnswerStore } from '../redis/stores/answer-store.ts';
import { PROBLEM_TYPE, refusal, type Problem } from './problem.ts';
import { problemAnswer } from './schemas/common.ts';

/** An answer that is given again, as it was sent. */
interface KeptAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** A request with a key, compared with what came with that key before. */
type RepeatedRequest =
  /** None has: its answer is to be kept, or the key given free again where nothing was decided. */
  FirstRequest | { kind: 'repeat'; answer: KeptAnswer } | { kind: 'in_progress' | 'other_request' };

interface RepeatRequest {
  /** Whose it is: the answers of one never make room for those of another that has fewer. */
  owner: string;
  /** Within which the key is one. */
  scope: string[];
  key: string;
  /** All by which one request differs from another. */
  request: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Where the answer to this request is to be kept; null for requests without a key. */
    firstRequest: FirstRequest | null;
  }
}

const HEADER = 'idempotency-key';

const headers = z.looseObject({
  [HEADER]: z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'expected 1 to 255 printable ASCII characters without spaces')
    .meta({
      description:
        'The same key within a day gives the first answer again, by token and route; with another request it is a conflict.',
    })
    .exactOptional(),
});

/** Answers with these are not kept: the request may be sent again, or has not ended. */
function isUndecided(status: number): boolean {
  return status >= 500 || status === 429;
}

/** How long a repeat waits for the answer to the first request, and how often it asks, ms. */
const PATIENCE_MS = 1_000;
const BETWEEN_READS_MS = 50;

/** Lets a POST be repeated: with an `Idempotency-Key`, what was answered once is answered again. */
export const idempotency = fastifyPlugin<{ repeats: Repeats }>((app, { repeats }, done) => {
  app.decorateRequest('firstRequest', null);
  app.addHook('onRoute', describeHeader);
  app.addHook('preHandler', async (request, reply) => {
    const key = request.headers[HEADER];
    if (request.method !== 'POST' || typeof key !== 'string') return;
    const begun = await beginPatiently(repeats, {
      owner: ownerOf(request.token),
      scope: [request.routeOptions.url ?? ''],
      key,
      request: JSON.stringify([request.url, request.body ?? null]),
    });
    if (begun.kind === 'first') request.firstRequest = begun;
    else return answerRepeat(begun, reply);
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const first = request.firstRequest;
    if (first === null) return;
    request.firstRequest = null;
    try {
      await first.settle(answerOf(reply, typeof payload === 'string' ? payload : ''));
    } catch (error) {
      // It was done all the same; only a repeat will have to wait, and is then done again.
      request.failure = error;
    }
  });
  done();
});

/** The token with its rights: another of its name, or with other rights, is given none of its answers. */
function ownerOf(token: TokenConfig | null): string {
  if (token === null) return '';
  const { name, token: secret, scopes, sources } = token;
  const rights = [scopes.toSorted(), sources.toSorted()];
  const hash = createHash('sha256').update(JSON.stringify([name, secret, ...rights]));
  return hash.digest('base64url');
}

/** Waits a moment for the answer to a first request that is at work. */
async function beginPatiently(repeats: Repeats, asked: RepeatRequest): Promise<RepeatedRequest> {
  const giveUpAt = performance.now() + PATIENCE_MS;
  for (;;) {
    const begun = await repeats.begin(asked);
    if (begun.kind !== 'in_progress' || performance.now() >= giveUpAt) return begun;
    await sleep(BETWEEN_READS_MS);
  }
}

function describeHeader(route: RouteOptions): void {
  if (route.method !== 'POST' || route.schema === undefined) return;
  const { response } = route.schema as { response?: Record<number, unknown> };
  const conflict = problemAnswer('The key came with another request, or its request is at work.');
  route.schema = { ...route.schema, headers, response: { 409: conflict, ...response } };
}

function answerRepeat(
  begun: Exclude<RepeatedRequest, FirstRequest>,
  reply: FastifyReply,
): FastifyReply {
  switch (begun.kind) {
    case 'other_request':
      throw refusal('idempotency_key_reused', `this ${HEADER} came with another request before`);
    case 'in_progress':
      reply.header('retry-after', 1);
      throw inProgress();
    case 'repeat': {
      const { status, headers: kept, body } = begun.answer;
      return reply.code(status).headers(kept).header('idempotent-replayed', 'true').send(body);
    }
  }
}

function inProgress() {
  return refusal('idempotency_in_progress', 'the first request with this key is not answered yet');
}

function answerOf(reply: FastifyReply, body: string): KeptAnswer {
  const kept: KeptAnswer = { status: reply.statusCode, headers: {}, body };
  for (const name of ['content-type', 'location']) {
    const value = reply.getHeader(name);
    if (typeof value === 'string') kept.headers[name] = value;
  }
  return kept;
}

function isTimeout(body: string): boolean {
  return body.includes('"code":"timeout"');
}

/** How long an answer is kept, ms. */
const KEEP_MS = 86_400_000;

/** Longer than the deadline of every route: after it, the process that handled a request has died. */
const LEASE_MS = 60_000;

type KeptAnswers = Pick<AnswerStore, 'begin' | 'keep' | 'release'>;

/** The record of one request; the answer is null until it is finished. */
interface StoredAnswer {
  fingerprint: string;
  answer: string | null;
}

/** The record before the answer. Its own name differs from that of a repeat after the lease. */
interface BegunAnswer extends StoredAnswer {
  by: string;
}

/** The first request with a key. */
class FirstRequest {
  readonly kind = 'first';
  private isDecided = false;

  /** @param record what stands under the key for this request */
  constructor(
    private readonly answers: KeptAnswers,
    private readonly sealer: Sealer,
    private readonly key: { id: string; fingerprint: string },
    private record: string,
  ) {}

  /** @returns false where the key has been free meanwhile, and a repeat is at work */
  async keep(answer: KeptAnswer): Promise<boolean> {
    const { id, fingerprint } = this.key;
    const record = JSON.stringify({ fingerprint, answer: pack(answer, this.sealer, id) });
    const isKept = await this.answers.keep(id, this.record, record, KEEP_MS);
    if (isKept) this.record = record;
    return isKept;
  }

  release(): Promise<void> {
    return this.answers.release(this.key.id, this.record);
  }

  /**
   * To be called before what must not be done twice. From now on a repeat is answered as this request, whatever
   * that answer is, or by `fallback` where this request gets none.
   * Throws RunwatchError `idempotency_in_progress` where a repeat is at work already.
   */
  async decide(fallback: Problem): Promise<void> {
    const answer: KeptAnswer = {
      status: fallback.status,
      headers: { 'content-type': PROBLEM_TYPE },
      body: JSON.stringify(fallback),
    };
    if (!(await this.keep(answer))) throw inProgress();
    this.isDecided = true;
  }

  /** Nothing was done after all. */
  undecide(): void {
    this.isDecided = false;
  }

  /** Keeps an answer, or gives the key free where nothing was decided. A request that timed out may still be at work. */
  async settle(answer: KeptAnswer): Promise<void> {
    const isLate = isTimeout(answer.body);
    const isFinal = this.isDecided ? !isLate : !isUndecided(answer.status);
    if (isFinal) await this.keep(answer);
    else if (!isLate) await this.release();
  }
}

/** Stores the answers to requests with an idempotency key, encrypted, since they may hold secrets. */
export class Repeats {
  constructor(
    private readonly answers: KeptAnswers,
    private readonly sealer: Sealer,
  ) {}

  async begin({ owner, scope, key, request }: RepeatRequest): Promise<RepeatedRequest> {
    const { answers, sealer } = this;
    const id = `${owner}.${digest(owner, ...scope, key)}`;
    const fingerprint = digest(request);
    const begun: BegunAnswer = { fingerprint, answer: null, by: randomUUID() };
    const text = JSON.stringify(begun);
    const held = await answers.begin(id, text, LEASE_MS);
    if (held === null) return new FirstRequest(answers, sealer, { id, fingerprint }, text);
    const stored = JSON.parse(held) as StoredAnswer;
    if (stored.fingerprint !== fingerprint) return { kind: 'other_request' };
    if (stored.answer === null) return { kind: 'in_progress' };
    return { kind: 'repeat', answer: unpack(stored.answer, sealer, id) };
  }
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
