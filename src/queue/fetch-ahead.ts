import type { Worker } from 'bullmq';

/** Puts a job off that runs under a token, until `at`, milliseconds since the epoch. */
type PutOff = (
  id: string,
  to: { at: number; priority: number | null },
  token: string,
) => Promise<void>;

/**
 * Lets the command that puts a job off fetch the next one, which goes under the same token. A worker
 * does so by itself with jobs that have ended, but asks once more after one that was put off: one in
 * four of the commands of a poll.
 */
export function fetchAhead(worker: Worker): PutOff {
  const { backend } = worker;
  const fetch = backend.moveToActive.bind(backend);
  const fetched = new Map<string, Awaited<ReturnType<typeof fetch>>>();
  backend.moveToActive = async (token, name) => {
    const next = fetched.get(token);
    fetched.delete(token);
    return next ?? fetch(token, name);
  };

  return async (id, { at, priority }, token) => {
    const now = Date.now();
    const next = await backend.moveToDelayed(id, now, Math.max(0, at - now), token, {
      skipAttempt: true,
      fetchNext: worker.closing === undefined,
      ...(priority !== null && { fieldsToUpdate: { priority } }),
    });
    const [job, nextId] = next ?? [];
    if (!job) return;
    if (worker.closing === undefined) fetched.set(token, next ?? []);
    // The worker that is being closed takes no more: it would wait until its lock has lapsed.
    else await backend.moveToDelayed(String(nextId), now, 0, token, { skipAttempt: true });
  };
}
