import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonProcess } from './daemon-process.ts';
import { waitFor } from './wait-for.ts';

/** A moment at which deliveries in all states did not add up to the planned ones. */
interface Imbalance {
  planned: number;
  byState: Record<string, number>;
}

/**
 * Repeatedly checks the equation of conservation, as an operator would. In `GET /metrics` the sum
 * of `runwatch_deliveries` over its states is `runwatch_deliveries_planned`.
 */
export function sampleConservation(daemon: DaemonProcess, everyMs: number) {
  const imbalances: Imbalance[] = [];
  let samples = 0;
  let last = 0;
  const over = new AbortController();

  /** @returns false where a busy store did not say in time, so that the metrics leave it out */
  async function sample(): Promise<boolean> {
    const { body } = await daemon.api<string>('/metrics');
    const found = readDeliveries(body);
    if (found === null) return false;
    const { planned, byState } = found;
    const sum = Object.values(byState).reduce((total, count) => total + count, 0);
    if (sum !== planned) imbalances.push({ planned, byState });
    samples += 1;
    last = planned;
    return true;
  }

  async function sampleOn(): Promise<void> {
    while (!over.signal.aborted) {
      await sample();
      await sleep(everyMs);
    }
  }

  const sampling = sampleOn();
  return {
    /**
     * @returns the number of samples, those that were off, and the last number of planned
     * deliveries
     */
    async stop(): Promise<{ samples: number; imbalances: Imbalance[]; planned: number }> {
      await waitFor(sample);
      over.abort();
      await sampling;
      return { samples, imbalances, planned: last };
    },
  };
}

function readDeliveries(metrics: string): Imbalance | null {
  const byState: Record<string, number> = {};
  for (const [, state = '', count] of metrics.matchAll(
    /^runwatch_deliveries\{[^}]*state="(\w+)"[^}]*\} (\d+)$/gm,
  )) {
    byState[state] = Number(count);
  }
  const planned = /^runwatch_deliveries_planned(?:\{[^}]*\})? (\d+)$/m.exec(metrics)?.[1];
  return planned === undefined ? null : { planned: Number(planned), byState };
}
