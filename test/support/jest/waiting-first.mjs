import { basename } from 'node:path';
import TestSequencer from '@jest/test-sequencer';

/** Tests of processes wait most of their time, and those of rules compute: begun last, these fill the rest. */
const ORDER = ['e2e', 'browser', 'integration', 'unit'];

/** What takes half a minute to two, and would be all that is left at the end. */
const LONGEST = new Set(['list-polling', 'outage', 'lagging-source', 'connection', 'alert-model']);

/** Begins what waits longest first, also in a fresh clone, in which jest knows no durations yet. */
export default class WaitingFirst extends TestSequencer {
  sort(tests) {
    const rank = ({ path, context }) =>
      LONGEST.has(basename(path, '.test.ts')) ? -1 : ORDER.indexOf(context.config.displayName.name);
    return super.sort(tests).sort((a, b) => rank(a) - rank(b));
  }
}
