import { isTerminalStatus } from '../run/snapshot.ts';
import type { Profile, Watch } from '../watch/watch.ts';

/** What an event of a run's stream says of the run; without its content, which is private. */
export interface RunHint {
  status: string;
}

/** With a stream, polls only catch what the stream may have missed; this often, ms. */
const BACKSTOP_MS = 120_000;

/** The delay until the next poll of a streamed run: at least the backstop. @returns ms */
export function streamedDelay({ maxDelayMs }: Pick<Watch, 'maxDelayMs'>, delayMs: number): number {
  return Math.max(delayMs, Math.min(BACKSTOP_MS, maxDelayMs ?? Infinity));
}

const CLASSES: Record<Profile, number> = { urgent: 0, normal: 1, frugal: 2 };

/** More milliseconds than any time has. */
const CLASS_WIDTH = 1e14;

/** True where a hint's status differs from the last poll's. Progress alone expedites no poll. */
export function isNews({ status }: RunHint, known: string | null): boolean {
  return status !== known;
}

/** Whether a run may still change, so that a stream of it makes sense. */
export function mayStream(watch: Pick<Watch, 'state' | 'run'>): boolean {
  return watch.state === 'active' && watch.run !== null && !isTerminalStatus(watch.run.status);
}

/** Priority for a stream when there are too few: lowest first, that is urgent, then oldest. */
export function streamRank({ profile, registeredAt }: Pick<Watch, 'profile' | 'registeredAt'>) {
  return CLASSES[profile] * CLASS_WIDTH + registeredAt;
}
