import { isoTime } from '../../src/core/event/event.ts';
import { ID_PATTERN, ID_SHAPE, workflowIdFrom } from '../../src/core/run/id.ts';
import type { SourcePort } from '../../src/core/source/port.ts';
import type { SourceTraits } from '../../src/core/source/traits.ts';
import { kindOf as configuredKind, type KindOf } from '../../src/source/kinds.ts';
import { snapshot } from './builders.ts';

/** The name of the source of which runs can have any id. */
export const WIDE = 'wide';

const TRAITS: SourceTraits = {
  label: WIDE,
  idShape: ID_SHAPE,
  idProblem: (runId) => (ID_PATTERN.test(runId) ? null : `expected ${ID_SHAPE}`),
  canonicalId: (runId) => runId,
  idParts: [],
  idInUrl: () => null,
  lists: null,
  probes: false,
  waits: true,
  streams: false,
  names: false,
  mayReadTwice: false,
  attempts: false,
  stop: false,
};

/** A source that has every run, each in the same status, and of a workflow with its id. */
export function wideSource() {
  let status = 'running';
  const port: SourcePort = {
    async readRun(id) {
      const observed_at = isoTime(Date.now());
      return {
        kind: 'run',
        run: snapshot({ id, workflow_id: workflowIdFrom(id), status, observed_at }),
      };
    },
    probe: null,
    readPage: null,
    streams: null,
    names: null,
    stop: null,
    useHeaders: () => undefined,
    close: () => undefined,
  };
  const kindOf: KindOf = (name, config) =>
    name === WIDE
      ? { traits: TRAITS, headers: {}, open: () => port }
      : configuredKind(name, config);
  return { kindOf, setStatus: (next: string) => void (status = next) };
}
