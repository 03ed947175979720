import { isTerminalStatus } from './run.ts';
import type { Profile, Watch } from './watch.ts';

/** What an event of a run's stream says of the run. Nothing of its content, which is private. */
export interface RunHint {
  status: string;
}

/** With a stream the next poll is only there for what the stream may have missed, ms. */
const BACKSTOP_MS = 120_000;

/** In how long a run that is streamed is polled again: when the backstop is due, or later still. @returns ms */
export function streamedDelay({ maxDelayMs }: Pick<Watch, 'maxDelayMs'>, delayMs: number): number {
  return Math.max(delayMs, Math.min(BACKSTOP_MS, maxDelayMs ?? Infinity));
}

const CLASSES: Record<Profile, number> = { urgent: 0, normal: 1, frugal: 2 };

/** More than the milliseconds of any time. */
const CLASS_WIDTH = 1e14;

/** True where a hint names another status than the last poll. Progress alone expedites no poll. */
export function isNews({ status }: RunHint, known: string | null): boolean {
  return status !== known;
}

/** Whether there is anything more to come of a run. */
export function mayStream(watch: Pick<Watch, 'state' | 'run'>): boolean {
  return watch.state === 'active' && watch.run !== null && !isTerminalStatus(watch.run.status);
}

/** Who gets a stream when there are not enough: the lowest, that is the urgent and the oldest. */
export function streamRank({ profile, registeredAt }: Pick<Watch, 'profile' | 'registeredAt'>) {
  return CLASSES[profile] * CLASS_WIDTH + registeredAt;
}
