import { expect, test } from '@jest/globals';
import { isSample } from '../../src/core/feed/list-trust.ts';
import type { ListFeedDependencies } from '../../src/feed/list-feed.ts';
import { reportListed } from '../../src/feed/report-listed.ts';
import { newWatch, snapshot } from '../support/builders.ts';

/** Run ids by whether a list is taken at its word for them, once it has earned that. */
const ids = Array.from({ length: 400 }, (_, at) => `run-${at}`);
const samples = ids.filter(isSample);
const others = ids.filter((id) => !isSample(id));

interface Shown {
  runIds: readonly string[];
  /** Polls that are due because something asked for them. */
  due?: number;
  /** Of the runs, those that an earlier read of the page has shown. */
  open?: readonly string[];
}

/** What a page comes to that shows these runs to have failed, at ten requests a second. */
async function reportOf({ runIds, due = 0, open = [] }: Shown) {
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
    waitingPolls: async () => due,
    schedule: {
      claimPolls: async (members: string[]) => members.map((member) => ({ member, token: 'this' })),
      settled: () => undefined,
    },
    observeListed: async () => ({ is: 'written', nextMs: 1_000 }),
    random: () => 0.5,
  } as unknown as ListFeedDependencies;
  const word = { confirmed: 20, lostAt: 0 };
  return reportListed(deps, {
    changed,
    open: new Set(open),
    word,
    readAt: 1e12,
    watches: [...stored.values()],
    plan: { watches: 400 },
  });
}

test('a list that has earned its word reports many failures at once', async () => {
  expect((await reportOf({ runIds: others.slice(0, 20) })).size).toBe(20);
});

test('runs that a poll checks before they are reported are not reported by the list', async () => {
  const shown = { runIds: samples.slice(0, 5), open: samples.slice(0, 5), due: 8 };
  expect((await reportOf(shown)).size).toBe(0);
});

test('as many failures are checked before they are reported as polls can read within a second', async () => {
  const runIds = [...samples.slice(0, 5), ...others.slice(0, 45)];
  const reported = await reportOf({ runIds, due: 7 });
  expect(samples.slice(0, 5).filter((id) => !reported.has(id))).toHaveLength(3);
  expect(reported.size).toBe(47);
});

test('a failure that waits for its check is not reported by the next read of the page', async () => {
  const [checked = ''] = samples;
  const shown = { runIds: [checked, ...others.slice(0, 20)], due: 100, open: [checked] };
  const reported = await reportOf(shown);
  expect(reported.has(checked)).toBe(false);
  expect(reported.size).toBe(20);
});
