/** Jobs in memory with the rules of the real queue: one per id, there until its run has ended. */
export interface FakeJobs {
  ensure: (ids: string[]) => Promise<void>;
  withoutJob: (ids: string[]) => Promise<string[]>;
  /** Ids of jobs whose time has come and that do not run. */
  due(): string[];
  /** Marks a job as running; only the one who holds the token may end it. */
  start(id: string): symbol;
  /** Ends a run: the job is put off to a time, or is gone. */
  end(id: string, token: symbol, dueAt: number | null): void;
  /** Gives up on runs, as the queue does when their locks have expired: the jobs run again. */
  stall(ids?: string[]): void;
  /** Loses every job, as when somebody deletes all keys of the queue. */
  clear(): void;
  readonly size: number;
}

export function fakeJobs(now: () => number): FakeJobs {
  const jobs = new Map<string, { dueAt: number; token: symbol | null }>();
  return {
    async ensure(ids) {
      for (const id of ids) if (!jobs.has(id)) jobs.set(id, { dueAt: now(), token: null });
    },
    async withoutJob(ids) {
      return ids.filter((id) => !jobs.has(id));
    },
    due() {
      const due = [...jobs].filter(([, { dueAt, token }]) => token === null && dueAt <= now());
      return due.sort(([, one], [, other]) => one.dueAt - other.dueAt).map(([id]) => id);
    },
    start(id) {
      const token = Symbol(id);
      jobs.set(id, { dueAt: now(), token });
      return token;
    },
    end(id, token, dueAt) {
      if (jobs.get(id)?.token !== token) return;
      if (dueAt === null) jobs.delete(id);
      else jobs.set(id, { dueAt, token: null });
    },
    stall(ids = [...jobs.keys()]) {
      for (const id of ids) {
        if (jobs.has(id)) jobs.set(id, { dueAt: now(), token: null });
      }
    },
    clear: () => jobs.clear(),
    get size() {
      return jobs.size;
    },
  };
}
