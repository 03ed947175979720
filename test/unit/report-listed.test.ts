import { expect, test } from '@jest/globals';
import { sumOf } from '../../src/core/feed/word.ts';
import type { ListFeedDependencies } from '../../src/feed/list-feed.ts';
import { reportListed } from '../../src/feed/report-listed.ts';
import { newWatch, snapshot } from '../support/builders.ts';

/** Run ids by whether a list is taken at its word for them, once it has earned that. */
const ids = Array.from({ length: 400 }, (_, at) => `run-${at}`);
const checkedFirst = ids.filter((id) => sumOf(id) % 20 === 0);
const others = ids.filter((id) => sumOf(id) % 20 !== 0);

/** What a page comes to that shows these runs to have failed, while many polls wait. */
async function reportOf(runIds: readonly string[]) {
  const stored = new Map(
    runIds.map((runId) => [
      runId,
      { watch: newWatch({ runId, run: snapshot({ status: 'running' }) }), version: 1 },
    ]),
  );
  const listed = { status: 'failed', progress: 0, workflow_id: 'workflow-1', created_at: null };
  const changed = runIds.map((id) => ({
    watch: stored.get(id)!.watch,
    listed: { ...listed, id, finished_at: '2025-05-04T10:00:00.000Z' },
  }));
  const deps = {
    requestsPerMs: 0.01,
    waitingPolls: async () => 100,
    schedule: {
      claimPolls: async (members: string[]) => members.map((member) => ({ member, token: 'this' })),
      settled: () => undefined,
    },
    observeListed: async () => ({ is: 'written', nextMs: 1_000 }),
    random: () => 0.5,
  } as unknown as ListFeedDependencies;
  const word = { confirmed: 20, lostAt: 0 };
  return reportListed(deps, { changed, stored, word, readAt: 1e12, watches: 400 });
}

test('a list that has earned its word reports many failures at once, and calls for its other pages', async () => {
  const { runIds, isBacklog, isBurst } = await reportOf(others.slice(0, 20));
  expect({ reported: runIds.size, isBacklog, isBurst }).toEqual({
    reported: 20,
    isBacklog: true,
    isBurst: true,
  });
});

test('runs that a poll confirms before they are reported do not let pages go before polls', async () => {
  const { runIds, isBacklog, isBurst } = await reportOf(checkedFirst.slice(0, 5));
  expect({ reported: runIds.size, isBacklog, isBurst }).toEqual({
    reported: 0,
    isBacklog: false,
    isBurst: false,
  });
});
