import { expect, test } from '@jest/globals';
import { KnownWatches } from '../../src/daemon/known-watches.ts';
import { newWatch } from '../support/builders.ts';

test('a watch that the store lost is remembered with the ends that later reads took back', async () => {
  const known = new KnownWatches({
    getMany: async (keys) => keys.map(() => null),
    async *active() {},
  });
  const watch = newWatch();
  known.note(watch);
  known.polled({ ...watch, sequence: 1 });
  known.polled({ ...watch, sequence: 2, pastEnds: ['run.failed'] });
  known.polled({ ...watch, sequence: 3, pastEnds: ['run.failed'] });
  expect(await known.missing()).toMatchObject([{ sequence: 3, pastEnds: ['run.failed'] }]);
});
