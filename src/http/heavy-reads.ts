import type { ServerResponse } from 'node:http';
import type { RouteOptions } from 'fastify';
import { fastifyPlugin } from 'fastify-plugin';
import type { TokenConfig } from '../config/schema.ts';
import { refusal } from './problem.ts';
import { problemAnswer } from './schemas/common.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True for reads whose work grows with the number of records: only some run at a time. */
    isHeavy?: boolean;
  }
}

/** Heavy reads that run at a time, and those of one token among them. */
const MOST = 16;
const MOST_OF_TOKEN = 12;

/** Seconds after which a read whose turn did not come is worth trying again. */
const RETRY_AFTER_S = 1;

interface HeavyReadOptions {
  /** How long a heavy read waits for its turn. */
  waitMs: number;
}

/** Runs a bounded number of heavy reads at a time. The next ones wait, and tokens take turns. */
export const heavyReads = fastifyPlugin<HeavyReadOptions>((app, { waitMs }, done) => {
  const turns = new HeavyReads(waitMs);
  app.addHook('onRoute', (route) => {
    if (route.config?.isHeavy !== true) return;
    describeRefusal(route);
    const { handler } = route;
    // Not by a hook: a read may still run when its request was answered, as after a time-out.
    route.handler = async function answer(request, reply) {
      const owner = request.token?.name ?? null;
      if (!(await turns.enter(owner, reply.raw))) {
        reply.header('retry-after', RETRY_AFTER_S);
        throw refusal('too_many_requests', 'other listings and look-ups are at work; try again');
      }
      try {
        return await handler.call(this, request, reply);
      } finally {
        turns.leave(owner);
      }
    };
  });
  done();
});

/** The name of a token; null without tokens, where one user has the server to itself. */
type Owner = TokenConfig['name'] | null;

/** A read that waits. */
interface Waiter {
  start(): void;
}

class HeavyReads {
  readonly #waitMs: number;
  #running = 0;
  readonly #runningOf = new Map<Owner, number>();
  /** Reads that wait, by token. The token whose turn is longest ago stands first. */
  readonly #waiting = new Map<Owner, Set<Waiter>>();

  constructor(waitMs: number) {
    this.#waitMs = waitMs;
  }

  /** @returns whether the read may run; false where its turn does not come, or its client goes */
  async enter(owner: Owner, response: ServerResponse): Promise<boolean> {
    if (!this.#hasRoom(owner)) return this.#wait(owner, response);
    this.#start(owner);
    return true;
  }

  leave(owner: Owner): void {
    this.#running -= 1;
    this.#runningOf.set(owner, this.#of(owner) - 1);
    if (this.#of(owner) === 0) this.#runningOf.delete(owner);
    this.#startNext();
  }

  #hasRoom(owner: Owner): boolean {
    const most = owner === null ? MOST : MOST_OF_TOKEN;
    return this.#running < MOST && this.#of(owner) < most;
  }

  #of(owner: Owner): number {
    return this.#runningOf.get(owner) ?? 0;
  }

  #start(owner: Owner): void {
    this.#running += 1;
    this.#runningOf.set(owner, this.#of(owner) + 1);
  }

  #startNext(): void {
    for (const [owner, waiters] of this.#waiting) {
      const [first] = waiters;
      if (first === undefined || !this.#hasRoom(owner)) continue;
      this.#start(owner);
      this.#waiting.delete(owner);
      this.#waiting.set(owner, waiters);
      first.start();
      return;
    }
  }

  #wait(owner: Owner, response: ServerResponse): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isStarted: boolean) => {
        clearTimeout(timer);
        response.off('close', giveUp);
        this.#forget(owner, waiter);
        resolve(isStarted);
      };
      const giveUp = () => end(false);
      const waiter = { start: () => end(true) };
      const timer = setTimeout(giveUp, this.#waitMs);
      response.once('close', giveUp);
      const waiters = this.#waiting.get(owner) ?? new Set();
      this.#waiting.set(owner, waiters.add(waiter));
    });
  }

  #forget(owner: Owner, waiter: Waiter): void {
    const waiters = this.#waiting.get(owner);
    waiters?.delete(waiter);
    if (waiters?.size === 0) this.#waiting.delete(owner);
  }
}

function describeRefusal(route: RouteOptions): void {
  const { response } = (route.schema ?? {}) as { response?: Record<number, unknown> };
  const refused = problemAnswer(
    'Other listings and look-ups are at work; `Retry-After` says when to try again.',
  );
  route.schema = { ...route.schema, response: { ...response, 429: refused } };
}
