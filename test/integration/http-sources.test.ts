import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ClosedSource } from '../../src/core/source/throttle.ts';
import { sourceList } from '../../src/http/schemas/source.ts';
import type { DiscoveryCursor } from '../../src/core/feed/discovery.ts';
import type { Source } from '../../src/source/source.ts';
import { stretchedReads } from '../support/builders.ts';
import { testSource } from '../support/daemon.ts';
import { aWatch } from '../support/fake-services.ts';
import { startServer, type TestServer } from '../support/http-server.ts';

const NOON = Date.UTC(2026, 0, 1);

/** Streams as the API shows them. */
const STREAMS = {
  open: 3,
  wanted: 5,
  allowed: 10,
  refused_until: null,
  doubted: ['awaiting'],
  known_first: [{ kind: 'completed', by: 'stream', count: 7 }],
};

/** What a workspace of Noxus is as the API shows it. */
const NOXUS = {
  type: 'noxus',
  host: 'backend.noxus.ai',
  id_parts: [],
  can: { list: true, stream: true, wait: true, probe: true },
};

/** How often runs are read as the API shows it. */
const READS = {
  runs: 2_000,
  usual_ms: 40_000,
  longest_ms: 960_000,
  beyond_max_interval: 1_343,
  rate_limit_that_would_do: { requests: 38, per: '1s' },
  message:
    '1,343 of 2,000 runs read less often than max_interval (1 min) asks for, the slowest every 16 min; source default may be asked 10/s; 38/s would do',
};

const CURSOR: DiscoveryCursor = {
  floor: null,
  newest: null,
  known: [],
  first: { at: NOON, since: NOON, taken: 11, waiting: 3, leftOut: 340, cutShortAt: NOON - 60_000 },
};

const DISCOVERY = [
  {
    workflow_id: null,
    began_at: '2026-01-01T00:00:00.000Z',
    taken: 11,
    waiting: 3,
    left_out: 340,
    read_back_to: '2025-12-31T23:59:00.000Z',
    message:
      'discovery began with 11 runs, 3 of them waiting for a human, and left out 340 that had ended, and read the list back to 2025-12-31T23:59:00.000Z; to take runs that had ended, set discover.since of the source to a time: those created since then are watched; register runs that are older than the oldest one read by their ids',
  },
];

interface Standing {
  closed?: ClosedSource | null;
  answeredAt?: number | null;
  failure?: string | null;
}

function aSource(
  name: string,
  { closed = null, answeredAt = NOON, failure = null }: Standing = {},
): Source {
  let state = closed && { since: NOON, row: [], closed, said: [], unsaid: [] };
  return testSource({
    name,
    limiter: { limit: { requests: 10, perMs: 1_000 } },
    overdue: () => null,
    reads: stretchedReads,
    agreement: { inconsistency: async () => null },
    throttle: {
      async read() {
        return { state, answeredAt, text: '', access: null, answeredBy: null, openSince: null };
      },
      async resume() {
        state = null;
      },
      lastFailure: () => failure,
    },
    discovery: {
      isOn: true,
      progress: async () => [{ list: { source: name, workflowId: null }, cursor: CURSOR }],
    },
    streams: {
      figures: async () => ({
        open: 3,
        wanted: 5,
        allowed: 10,
        refusedUntil: null,
        doubted: ['awaiting'],
        known: [{ kind: 'completed', by: 'stream', count: 7 }],
      }),
    },
  });
}

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
  const closed = {
    reason: 'rate_limited' as const,
    message: 'status 429, asks for 600 s',
    at: NOON,
    probeAt: NOON + 600_000,
    failedProbes: 0,
  };
  server.services.polledSources.push(aSource('default'), aSource('eu', { closed }));
});
afterAll(() => server.close());

describe('sources', () => {
  it('sources are listed with their pause, its reason and the used rate limit', async () => {
    const { data } = sourceList.strict().parse(await (await server.fetch('/v1/sources')).json());
    const rate_limit = { requests: 10, per: '1s', used: 4 };
    expect(data).toEqual([
      {
        name: 'default',
        label: 'Noxus',
        ...NOXUS,
        can_stop: true,
        state: 'answering',
        since: null,
        message: null,
        paused_until: null,
        last_answer_at: '2026-01-01T00:00:00.000Z',
        rate_limit,
        overdue: null,
        reads: READS,
        discovery: DISCOVERY,
        streams: STREAMS,
      },
      {
        name: 'eu',
        label: 'Noxus',
        ...NOXUS,
        can_stop: true,
        state: 'paused',
        since: '2026-01-01T00:00:00.000Z',
        message: 'status 429, asks for 600 s',
        paused_until: '2026-01-01T00:10:00.000Z',
        last_answer_at: '2026-01-01T00:00:00.000Z',
        rate_limit,
        overdue: null,
        reads: READS,
        discovery: DISCOVERY,
        streams: STREAMS,
      },
    ]);
  });

  it('a source without a valid answer is unknown, with the reason of the last one', async () => {
    const { polledSources } = server.services;
    polledSources.push(aSource('new', { answeredAt: null, failure: 'connect ECONNREFUSED' }));
    const { data } = sourceList.strict().parse(await (await server.fetch('/v1/sources')).json());
    polledSources.pop();
    expect(data.at(-1)).toMatchObject({ state: 'unknown', message: 'connect ECONNREFUSED' });
  });

  it('sources are resumed by name', async () => {
    const resumed = await server.fetch('/v1/sources/eu/resume', { method: 'POST' });
    expect(await resumed.json()).toMatchObject({ name: 'eu', state: 'answering' });
    const unknown = await server.fetch('/v1/sources/us/resume', { method: 'POST' });
    expect(await unknown.json()).toMatchObject({
      code: 'source_not_found',
      detail: 'no source is named "us"; there are: default, eu',
    });
  });

  it('a requested poll of a paused source says when the source is tried next', async () => {
    const watch = aWatch({ runId: 'run-1' });
    server.services.store.set('run-1', watch);
    const poll = () => server.fetch('/v1/watches/run-1/poll', { method: 'POST' });
    const open = await poll();
    expect([open.status, await open.json()]).toEqual([202, { paused_until: null, message: null }]);
    const closed = {
      reason: 'unreachable' as const,
      message: 'status 503',
      at: NOON,
      probeAt: NOON + 9_000,
      failedProbes: 2,
    };
    server.services.watches.pollNow = async () => ({ closed });
    expect(await (await poll()).json()).toEqual({
      paused_until: '2026-01-01T00:00:09.000Z',
      message: 'status 503',
    });
  });
});
