import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import type { ListOutcome, ListQuestion } from '../../src/core/feed/run-list.ts';
import type { SourcePort } from '../../src/core/source/port.ts';
import type { ListTraits, SourceTraits } from '../../src/core/source/traits.ts';
import type { KindOf } from '../../src/source/kinds.ts';
import { snapshot } from './builders.ts';

/** A source that can be asked for one run at a time, and for nothing else but its lists, if it has any. */
export interface BareSource {
  kindOf: KindOf;
  /** Runs by their ids; one that is not here gets a 404. */
  runs: Map<string, Partial<RunSnapshot>>;
  /** The ids of the runs that were read, in order. */
  reads: string[];
  /** The pages that were read. */
  pages: ListQuestion[];
  /** Headers that it was given after it was opened. */
  headers: unknown[];
}

/** Lists that can do all that lists can. */
export const LISTS: ListTraits = {
  pageSize: 100,
  pages: Infinity,
  byWorkflow: true,
  endsAreFinal: true,
  standIn: true,
};

const ID_SHAPE = 'a word and a number, such as job-7';

function traitsOf(label: string, lists: ListTraits | null): SourceTraits {
  return {
    label,
    idShape: ID_SHAPE,
    idProblem: (runId) => (/^[a-z]+-\d+$/.test(runId) ? null : `expected ${ID_SHAPE}`),
    canonicalId: (runId) => runId,
    idParts: [],
    idInUrl: () => null,
    lists,
    probes: false,
    waits: true,
    streams: false,
    names: false,
    mayReadTwice: false,
    attempts: false,
    stop: false,
  };
}

export function bareSource(lists: ListTraits | null = null): BareSource {
  const runs = new Map<string, Partial<RunSnapshot>>();
  const reads: string[] = [];
  const pages: ListQuestion[] = [];
  const headers: unknown[] = [];
  const readPage = async (question: ListQuestion): Promise<ListOutcome> => {
    pages.push(question);
    return { kind: 'page', page: { runs: [], isLast: true, isCut: false, bytes: 2 } };
  };
  const port: SourcePort = {
    async readRun(runId, { onSent } = {}) {
      reads.push(runId);
      onSent?.();
      const run = runs.get(runId);
      if (run === undefined) return { kind: 'not_found' };
      const observed_at = new Date().toISOString();
      return { kind: 'run', run: snapshot({ id: runId, ...run, observed_at }) };
    },
    probe: null,
    readPage: lists && readPage,
    streams: null,
    names: null,
    stop: null,
    useHeaders: (next) => void headers.push(next),
    close: () => undefined,
  };
  const kindOf: KindOf = (name, config) => ({
    traits: traitsOf(name, lists),
    headers: { authorization: `Bearer ${'api_key' in config ? config.api_key : ''}` },
    open: () => port,
  });
  return { kindOf, runs, reads, pages, headers };
}
