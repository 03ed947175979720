import { canonicalRunId } from '../core/run/snapshot.ts';
import type { SourceTraits } from '../core/source/traits.ts';
import { runIdInUrl } from './run-address.ts';

const RUN_ID = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}$/;

const ID_SHAPE = '1 to 128 of A-Z a-z 0-9 . _ -, not . or .. alone';

/** What a Noxus workspace can be asked. */
export const NOXUS_TRAITS: SourceTraits = {
  label: 'Noxus',
  idShape: ID_SHAPE,
  idProblem: (runId) => (RUN_ID.test(runId) ? null : `expected ${ID_SHAPE}`),
  canonicalId: canonicalRunId,
  idParts: [],
  idInUrl: runIdInUrl,
  lists: { pageSize: 100, pages: Infinity, byWorkflow: true, endsAreFinal: true, standIn: true },
  probes: true,
  waits: true,
  streams: true,
  names: true,
  mayReadTwice: false,
  attempts: false,
  stop: true,
};
