import { register, type RegisterDefaults } from '../core/watch/register.ts';
import { pollKind } from '../core/cadence/load.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { KnownWatch } from './known-watches.ts';

/** Watches written by one command. */
const CHUNK = 200;

interface RegisterAgainOptions {
  watches: Pick<WatchStore, 'commitMany'>;
  defaults: RegisterDefaults;
  now: number;
}

/**
 * Registers watches again that the store has lost, with the times that they had, and numbers of events
 * that go on. What another process registered meanwhile stays as it is.
 * @returns how many were registered
 */
export async function registerAgain(
  lost: readonly KnownWatch[],
  { watches, defaults, now }: RegisterAgainOptions,
): Promise<number> {
  let count = 0;
  for (let at = 0; at < lost.length; at += CHUNK) {
    const changes = lost.slice(at, at + CHUNK).map((known) => {
      const { source, runId, subscriptions } = known;
      const request = { source, runId, subscriptions };
      const { watch } = register(null, request, { now, defaults });
      const after = { ...watch, ...known };
      const schedule = { does: 'enter' as const, withinMs: 0, kind: pollKind(after, 0) };
      return { before: null, after, events: [], deliveries: [], schedule };
    });
    const written = await watches.commitMany(changes);
    count += written.filter((one) => one !== null).length;
  }
  return count;
}
