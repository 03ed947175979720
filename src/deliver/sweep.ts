/** Deliveries given jobs in one go. */
const CHUNK = 1_000;

interface SweepDependencies {
  deliveries: {
    dueBefore(time: number, page: { offset: number; limit: number }): Promise<string[]>;
  };
  jobs: {
    withoutJob(ids: string[]): Promise<string[]>;
    ensure(ids: string[]): Promise<void>;
  };
  now: () => number;
}

/**
 * Gives a job to deliveries that have long been due and have none: the process that wrote them died
 * before it could, or their jobs were lost. The outbox is the truth, jobs are only its alarm clocks.
 * Returns a function that sweeps what has been due for `overdueMs` and says how many it mended.
 */
export function createSweep({ deliveries, jobs, now }: SweepDependencies) {
  return async function sweep(overdueMs: number): Promise<number> {
    const time = now() - overdueMs;
    let mended = 0;
    for (let offset = 0; ; offset += CHUNK) {
      const overdue = await deliveries.dueBefore(time, { offset, limit: CHUNK });
      if (overdue.length === 0) return mended;
      const absent = await jobs.withoutJob(overdue);
      await jobs.ensure(absent);
      mended += absent.length;
    }
  };
}
