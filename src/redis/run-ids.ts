import type { WatchKey } from '../core/watch/watch.ts';
import type { Keys } from './keys.ts';

/** The sorted sets of a source's runs, as scripts take them; see `lua/run-ids.ts`. */
interface RunIds {
  /** Those of the beginnings of blocks. */
  blocks: string;
  /** How the keys of blocks begin. */
  block: string;
}

export function runIdsOf(keys: Keys, source: string): RunIds {
  return { blocks: keys.runIdBlocks(source), block: keys.runIds(source, '') };
}

/** The same with the members by which a run is found. */
export function runIdPlan(keys: Keys, { source, runId }: WatchKey) {
  const last = runId.slice(runId.lastIndexOf('/') + 1);
  const members = last === runId ? [runId] : [runId, `${last} ${runId}`];
  return { runIds: { ...runIdsOf(keys, source), members } };
}

/** The id that a member stands for. */
export function runIdOf(member: string): string {
  return member.slice(member.indexOf(' ') + 1);
}

/** The part of a member that a text is all of: the id, or the last part of it. */
export function wholePart(member: string, text: string): 'id' | 'last part' | null {
  if (member === text) return 'id';
  return member.startsWith(`${text} `) ? 'last part' : null;
}
