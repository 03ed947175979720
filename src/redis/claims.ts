import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';

/** Claims read by one command. */
const CHUNK = 500;

/** Something that a process has claimed; the token proves that it still may write it. */
export interface ClaimedMember {
  member: string;
  token: string;
}

/** Names a process: random at each start, so that no process is taken for the one before it. */
export function newProcessId(): string {
  return randomBytes(6).toString('base64url');
}

/** Makes the tokens of a process: its id, and a number that it gives once. */
export function tokensOf(process: string): () => string {
  let given = 0;
  return () => `${process}.${(given += 1).toString(36)}`;
}

/** The claims of one kind of work; see `lua/claims.ts`. */
export class ClaimStore {
  constructor(
    private readonly redis: Redis,
    private readonly claims: string,
  ) {}

  /** What a process holds, a chunk at a time; claims made meanwhile may be missing. */
  async *heldBy(process: string): AsyncIterable<ClaimedMember[]> {
    let cursor = '0';
    do {
      const [next, flat] = await this.redis.hscan(this.claims, cursor, 'COUNT', CHUNK);
      cursor = next;
      const held = claimsIn(flat).filter(({ token }) => token.startsWith(`${process}.`));
      if (held.length > 0) yield held;
    } while (cursor !== '0');
  }
}

function claimsIn(flat: readonly string[]): ClaimedMember[] {
  return Array.from({ length: flat.length / 2 }, (_, at) => ({
    member: flat[at * 2] ?? '',
    token: (flat[at * 2 + 1] ?? '').split(' ', 1)[0] ?? '',
  }));
}
