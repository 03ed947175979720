import { assertNever } from '../core/errors.ts';
import type { SourcePaused } from '../core/look.ts';
import type { FetchOutcome } from '../core/outcome.ts';

/** How long a source is left alone that asked for a pause without saying how long. */
export const DEFAULT_PAUSE_MS = 5_000;

interface SourceStore {
  pause(source: string, pause: SourcePaused, now: number): Promise<boolean>;
  refuse(source: string, reason: string): Promise<boolean>;
  accept(source: string): Promise<boolean>;
  answeredAt(source: string): Promise<number | null>;
}

interface SourcePolicy {
  /** How often a source that refuses the key is tried again, ms. */
  unauthorizedProbeMs: number;
}

interface SourceLog {
  refused(source: string, message: string): void;
  accepted(source: string): void;
  /** @param ms how long the source asked for */
  paused(source: string, pause: SourcePaused, ms: number): void;
}

type Trouble<Kind extends FetchOutcome['kind']> = Extract<FetchOutcome, { kind: Kind }>;

export type SourceGuard = ReturnType<typeof createSourceGuard>;

/**
 * Turns what one answer says about the whole source into a pause that holds in every process. A
 * pause is logged once, not for each request that was under way; a refused key likewise, by whichever
 * process saw it first, until the source works again, be it for another process: all of it is known
 * by the store alone.
 */
export function createSourceGuard(store: SourceStore, policy: SourcePolicy, log: SourceLog) {
  async function rateLimited(source: string, outcome: Trouble<'rate_limited'>, now: number) {
    const ms = outcome.retryAfterMs ?? DEFAULT_PAUSE_MS;
    const pause = pausedBy(outcome, now + ms);
    if (await store.pause(source, pause, now)) log.paused(source, pause, ms);
    return pause;
  }

  async function refused(source: string, outcome: Trouble<'unauthorized'>, now: number) {
    const pause = pausedBy(outcome, now + policy.unauthorizedProbeMs);
    await store.pause(source, pause, now);
    if (await store.refuse(source, outcome.message)) log.refused(source, outcome.message);
    return pause;
  }

  return {
    /** Pauses a source for as long as it asked for. */
    pause: rateLimited,

    answeredAt: (source: string) => store.answeredAt(source),

    /** @param known `isRefused`: whether the source was noted as refused when it was asked */
    async note(
      source: string,
      outcome: FetchOutcome,
      { isRefused, now }: { isRefused: boolean; now: number },
    ): Promise<SourcePaused | null> {
      switch (outcome.kind) {
        case 'rate_limited':
          return rateLimited(source, outcome, now);
        case 'unauthorized':
          return refused(source, outcome, now);
        case 'run':
        case 'not_found':
        case 'rejected':
          if (isRefused && (await store.accept(source))) log.accepted(source);
          return null;
        case 'forbidden':
        case 'unavailable':
        case 'invalid_response':
          return null;
        default:
          return assertNever(outcome);
      }
    },
  };
}

function pausedBy(
  outcome: Trouble<'rate_limited' | 'unauthorized'>,
  untilMs: number,
): SourcePaused {
  return { kind: 'paused', asked: true, reason: outcome.kind, message: outcome.message, untilMs };
}
