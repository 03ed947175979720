import type { Member } from './cast.ts';

/**
 * When an event's change happened to its run: by Noxus's time where given, else by the script, but
 * never before the registration.
 * @param occurrence which entry into the status it was, from 1
 * @returns milliseconds since the epoch
 */
export function happenedAt(
  member: Member,
  event: { type: string; run: { status: string; finished_at: string | null } | null },
  occurrence: number,
): number {
  return Math.max(member.registeredAt, momentOf(member, event, occurrence));
}

function momentOf(
  { script, registeredAt, timeoutMs }: Member,
  { type, run }: Parameters<typeof happenedAt>[1],
  occurrence: number,
): number {
  const createdAt = Date.parse(script.created_at);
  if (type === 'watch.expired') return registeredAt + (timeoutMs ?? 0);
  if (type === 'run.gone')
    return script.rejected ? registeredAt : createdAt + script.deleted_after_ms;
  if (run?.finished_at) return Date.parse(run.finished_at);
  const entries = script.steps.filter(
    (step, at) => step.status === run?.status && script.steps[at - 1]?.status !== step.status,
  );
  return createdAt + (entries[occurrence - 1]?.after_ms ?? 0);
}
