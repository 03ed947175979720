import type { ReadFieldName } from '../core/run/snapshot.ts';

/**
 * The content of every private field of a simulated run, and of some faulty answers. If it occurs
 * anywhere behind the Noxus client, private data has leaked.
 */
export const PRIVATE_CANARY = 'CANARY-this-is-private-run-data-and-must-never-leave-the-client';

export const DEFAULT_PRIVATE_BYTES = 2_048;

/** One simulator is one workspace, which Noxus calls a group. */
export const GROUP_ID = '6a0d3c52-8f1e-4b7a-9c2d-51e7f0a94b30';

/** `RunNoIO` of Noxus's OpenAPI document, without the fields that hold private data. It has all that runwatch reads. */
export interface PublicRun extends Record<ReadFieldName, string | number | null> {
  id: string;
  group_id: string;
  workflow_id: string;
  workflow_version_id: string | null;
  single_node_id: string | null;
  status: string;
  progress: number;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  source: string | null;
  user_id: string | null;
  conversation_id: string | null;
  api_key_id: string | null;
}

interface RunIdentity {
  id: string;
  workflow_id: string;
  workflow_version_id: string | null;
  single_node_id: string | null;
  created_at: string;
  timestamps: 'utc' | 'naive';
}

interface RunState {
  status: string;
  progress: number;
  startedAfterMs: number | null;
  finishedAfterMs: number | null;
}

export function publicRun(identity: RunIdentity, state: RunState): PublicRun {
  const createdAt = Date.parse(identity.created_at);
  const time = (afterMs: number | null) =>
    afterMs === null ? null : wireTime(createdAt + afterMs, identity.timestamps);
  return {
    id: identity.id,
    group_id: GROUP_ID,
    workflow_id: identity.workflow_id,
    workflow_version_id: identity.workflow_version_id,
    single_node_id: identity.single_node_id,
    status: state.status,
    progress: state.progress,
    created_at: wireTime(createdAt, identity.timestamps),
    started_at: time(state.startedAfterMs),
    finished_at: time(state.finishedAfterMs),
    source: 'api',
    user_id: null,
    conversation_id: null,
    api_key_id: null,
  };
}

/** The private fields of a run, of about this many bytes, with the canary or the given input. */
export function privatePart(
  bytes: number,
  input: Record<string, unknown> | null,
): Record<string, unknown> {
  const filler = 'x'.repeat(Math.ceil(bytes / 2));
  return {
    input: input ?? { prompt: PRIVATE_CANARY, document: filler },
    node_ids: [`node-${PRIVATE_CANARY}`],
    definitions: { nodes: [{ name: 'summarise', config: { text: PRIVATE_CANARY, filler } }] },
    meta: { note: PRIVATE_CANARY },
  };
}

function wireTime(ms: number, form: 'utc' | 'naive'): string {
  const text = new Date(ms).toISOString();
  return form === 'utc' ? text : text.replace('Z', '000');
}
