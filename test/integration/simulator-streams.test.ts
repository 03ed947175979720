import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import type { ScriptInput, StreamSettingsInput } from '../../src/simulator/script.ts';
import { waitFor } from '../support/wait-for.ts';

let simulator: Simulator;

beforeEach(async () => {
  simulator = await startSimulator();
});

afterEach(() => simulator.close());

interface StreamEvent {
  type: 'state' | 'content';
  data: { id?: string; status?: string; workflow_status?: string; progress_details?: object };
  redisId: string;
}

const AWAITING = 'awaiting_human_feedback';

/** A run that is over in a fifth of a second. */
const QUICK: ScriptInput['steps'] = [
  { after_ms: 20, status: 'running', progress: 0 },
  { after_ms: 180, status: 'completed', progress: 100 },
];

/** The events of a stream up to its end, or until `enough` says so. */
async function follow(
  runId: string,
  {
    etag,
    enough = () => false,
  }: { etag?: string; enough?: (events: StreamEvent[]) => boolean } = {},
): Promise<StreamEvent[]> {
  const left = new AbortController();
  const query = etag === undefined ? '' : `?etag=${etag}`;
  const response = await fetch(`${simulator.url}/v1/runs/${runId}/events${query}`, {
    headers: { 'x-api-key': simulator.apiKey },
    signal: left.signal,
  });
  let text = '';
  const events = () =>
    [...text.matchAll(/^event: message\ndata: (.*)\n\n/gm)].map(
      ([, data = '']) => JSON.parse(data) as StreamEvent,
    );
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const piece = await reader?.read();
    text += piece?.value ?? '';
    if (piece?.done !== false || enough(events())) break;
  }
  left.abort();
  return events();
}

/** What the `state` events say of the run, without repeats. */
function statusesIn(events: StreamEvent[]) {
  const statuses = events.filter(({ type }) => type === 'state').map(({ data }) => data.status);
  return statuses.filter((status, index) => status !== statuses[index - 1]);
}

/** All events of a run from its first on, as a client gets them that knows of none. */
async function followWhole(id: string): Promise<StreamEvent[]> {
  return follow(id, { etag: '0-0' });
}

function added(steps: ScriptInput['steps'], stream: StreamSettingsInput = {}) {
  return simulator.add({ steps, stream: { content_every_ms: 10, ...stream } }).id;
}

describe('simulator: event stream of a run', () => {
  test('an event stream has the status in state events, nodes in content events, and the end in the last one', async () => {
    const events = await followWhole(added(QUICK));
    expect(statusesIn(events)).toEqual(['queued', 'running', 'completed']);
    const contents = events.filter(({ type }) => type === 'content');
    expect(contents.find(({ data }) => data.status === 'completed')?.data.id).toBe('node-1');
    const ends = events.map(({ data }) => data.workflow_status);
    expect(ends.indexOf('completed')).toBe(events.length - 1);
    expect(events.at(-1)).toMatchObject({ type: 'content', data: { id: 'node-5' } });
    expect(events[0]?.data.progress_details).toMatchObject({ executed_nodes: [] });
  });

  test('the event stream of an ended run contains its end', async () => {
    const events = await follow(added([{ after_ms: 0, status: 'failed', progress: 50 }]));
    expect(statusesIn(events)).toEqual(['failed']);
    expect(events.at(-1)?.data).toMatchObject({ status: 'failed', workflow_status: 'failed' });
  });

  test('the event stream of a stopped run ends without workflow_status', async () => {
    const id = added([{ after_ms: 0, status: 'running' }]);
    const following = follow(id);
    await waitFor(() => simulator.streams.open === 1);
    simulator.setStatus(id, 'stopped');
    const events = await following;
    expect(statusesIn(events).at(-1)).toBe('stopped');
    expect(events.map(({ data }) => data.workflow_status)).not.toContain('stopped');
  });

  test('an event stream continues from an etag without gap or repeat', async () => {
    const id = added(QUICK, { state_every_ms: 20 });
    const whole = await followWhole(id);
    const at = whole.findIndex(({ data }) => data.status === 'running');
    const rest = await follow(id, { etag: whole[at]?.redisId ?? '' });
    expect(rest).toEqual(whole.slice(at + 1));
  });

  test('event streams have the configured interval and size', async () => {
    const id = added(QUICK, { state_every_ms: 10, content_every_ms: 0, state_bytes: 5_000 });
    const events = await followWhole(id);
    const running = events.filter(({ data }) => data.status === 'running');
    expect(running).toHaveLength(16);
    expect(JSON.stringify(running[0]).length).toBeGreaterThan(5_000);
  });
});

describe('simulator: settings and faults of event streams', () => {
  test('an event stream silent on waits and stops does not mention them', async () => {
    const id = added([{ after_ms: 0, status: 'running' }], {
      silent_on: [AWAITING, 'stopped'],
    });
    const following = follow(id, { enough: (events) => statusesIn(events).includes('completed') });
    await waitFor(() => simulator.streams.open === 1);
    simulator.setStatus(id, AWAITING);
    simulator.setStatus(id, 'stopped');
    simulator.setStatus(id, 'completed');
    expect(statusesIn(await following)).toEqual(['running', 'completed']);
  });

  test('an event stream silent on all statuses still contains the nodes', async () => {
    simulator.setStreams({ silent_on: ['*'], content_every_ms: 5 });
    const { id } = simulator.add({ steps: QUICK });
    const events = await follow(id, { enough: (so) => so.length > 10 });
    expect(statusesIn(events)).toEqual([]);
  });

  test('an event stream without resuming ignores the etag', async () => {
    const id = added(QUICK, { resumes: false });
    const whole = await followWhole(id);
    const again = await follow(id, { etag: whole.at(-1)?.redisId ?? '' });
    expect(statusesIn(again)).toEqual(['completed']);
  });

  test('an event stream with a claim contains the false status', async () => {
    const id = added([{ after_ms: 0, status: 'running' }]);
    simulator.fault({ kind: 'claim', status: 'failed', on: 'stream' });
    const events = await follow(id, { enough: (so) => so.length > 0 });
    expect(statusesIn(events)).toEqual(['failed']);
  });

  test('a broken event stream can be resumed', async () => {
    const id = added(QUICK, { state_every_ms: 20 });
    simulator.fault({ kind: 'drop', after_ms: 60, on: 'stream', count: 1 });
    let before: StreamEvent[] = [];
    const enough = (events: StreamEvent[]) => {
      before = events;
      return false;
    };
    await expect(follow(id, { etag: '0-0', enough })).rejects.toThrow('terminated');
    const after = await follow(id, { etag: before.at(-1)?.redisId ?? '' });
    expect([...before, ...after]).toEqual(await followWhole(id));
  });
});
