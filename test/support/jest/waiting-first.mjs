import TestSequencer from '@jest/test-sequencer';

/** Tests of processes wait most of their time, and those of rules compute: begun last, these fill the rest. */
const ORDER = ['e2e', 'browser', 'integration', 'unit'];

/** Begins what waits longest first, also in a fresh clone, in which jest knows no durations yet. */
export default class WaitingFirst extends TestSequencer {
  sort(tests) {
    const rank = (test) => ORDER.indexOf(test.context.config.displayName.name);
    return super.sort(tests).sort((a, b) => rank(a) - rank(b));
  }
}
