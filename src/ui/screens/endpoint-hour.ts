import type { DeliveryView } from '../api/types.ts';

/** How a receiver did in one stretch of the last hour. */
interface Stretch {
  taken: number;
  failed: number;
  /** The median of how long its answers took, ms; null without any. */
  medianMs: number | null;
}

/** How a receiver did in the last hour, as far as the newest deliveries tell. */
export interface Hour {
  stretches: readonly Stretch[];
  count: number;
  /** Share of what was tried that was taken; null without any. */
  successRate: number | null;
  medianMs: number | null;
  /** True where the hour had more deliveries than were read. */
  isCut: boolean;
}

const STRETCHES = 30;
const HOUR_MS = 3_600_000;
const PAGE = 200;

export function hourOf(deliveries: readonly DeliveryView[], now: number): Hour {
  const recent = deliveries.filter(
    ({ created_at: at, last }) => last !== null && now - Date.parse(at) < HOUR_MS,
  );
  const buckets: DeliveryView[][] = Array.from({ length: STRETCHES }, () => []);
  for (const delivery of recent) {
    const share = 1 - (now - Date.parse(delivery.created_at)) / HOUR_MS;
    buckets[Math.max(0, Math.min(STRETCHES - 1, Math.floor(share * STRETCHES)))]?.push(delivery);
  }
  const taken = recent.filter(isTaken).length;
  return {
    stretches: buckets.map(stretchOf),
    count: recent.length,
    successRate: recent.length === 0 ? null : taken / recent.length,
    medianMs: medianOf(recent),
    isCut: recent.length >= PAGE,
  };
}

function stretchOf(deliveries: readonly DeliveryView[]): Stretch {
  const taken = deliveries.filter(isTaken).length;
  return { taken, failed: deliveries.length - taken, medianMs: medianOf(deliveries) };
}

function isTaken({ state }: DeliveryView): boolean {
  return state === 'delivered';
}

function medianOf(deliveries: readonly DeliveryView[]): number | null {
  const times = deliveries
    .flatMap(({ last }) => (last === null ? [] : [last.duration_ms]))
    .sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? null;
}
