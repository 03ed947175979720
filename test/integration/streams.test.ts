import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { isSample, keepsCadence } from '../../src/core/feed/stream-trust.ts';
import type { FaultInput } from '../../src/simulator/fault.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { DEFAULT_WORKFLOW_ID } from '../../src/simulator/workflow.ts';
import { SOURCE, startPollRig, type PollRig } from '../support/poll-rig.ts';
import { waitFor } from '../support/wait-for.ts';

const WORKFLOW = 'ab000000-0000-4000-8000-000000000001';
const AWAITING = 'awaiting_human_feedback';

let rig: PollRig;

afterEach(async () => {
  await rig.stop();
});

async function start(options: Parameters<typeof startPollRig>[0] = {}) {
  rig = await startPollRig({
    endpoints: { log: { type: 'log', events: ['*'] } },
    ...options,
    polling: { hints: 'auto', min_interval: '1s', max_interval: '60s', ...options.polling },
  });
}

/** Streams of this workflow are believed to tell these kinds of transitions. */
async function believe(kinds: string[], workflowId = WORKFLOW) {
  const key = rig.stores.keys.streamTrust(SOURCE);
  const fields = kinds.flatMap((kind) => [`${workflowId}/${kind}`, '1'.repeat(20)]);
  await rig.stores.redis.hset(key, ...fields);
}

function add(count: number, stream: ScriptInput['stream'] = {}) {
  const steps = [{ after_ms: 0, status: 'running' }];
  return Array.from({ length: count }, () => {
    return rig.simulator.add({ steps, workflow_id: WORKFLOW, stream }).id;
  });
}

const statusOf = async (runId: string) =>
  (await rig.stores.watches.get({ source: SOURCE, runId }))?.watch.run?.status;

async function told(runIds: readonly string[], status: string) {
  await waitFor(async () => {
    const found = await Promise.all(runIds.map(statusOf));
    return found.every((one) => one === status);
  });
}

const reads = (runIds: readonly string[]) =>
  runIds.map((id) => rig.simulator.requests.run(id).count);

async function trust() {
  const { workflows } = await rig.stores.streams.trust(SOURCE);
  return workflows.get(WORKFLOW) ?? {};
}

/** Runs with reads that are left to their streams. */
async function relied(): Promise<string[]> {
  const all = await rig.stores.streams.all(SOURCE);
  return [...all].flatMap(([id, { isRelied }]) => (isRelied ? [id] : [])).toSorted();
}

function idThat(is: (id: string) => boolean): string {
  for (;;) {
    const id = randomUUID();
    if (is(id)) return id;
  }
}

/** Registers runs, and waits until each has a stream. */
async function streamed(runIds: readonly string[]) {
  await rig.watch(runIds);
  await waitFor(() => rig.simulator.streams.open >= runIds.length);
}

describe('streams that tell everything', () => {
  test('an end reaches its endpoint at once with its nodes, although the next read is a minute away', async () => {
    await start({ polling: { min_interval: '50s' } });
    const [runId = ''] = add(1);
    await streamed([runId]);
    await told([runId], 'running');
    rig.simulator.setStatus(runId, 'failed');
    await told([runId], 'failed');
    const event = (await rig.events()).find(({ type }) => type === 'run.failed');
    expect(event?.data.nodes).toMatchObject({ failed: [expect.stringMatching(/^node-/)] });
    await waitFor(async () => (await trust()).failed === '1');
    expect(await rig.dump()).not.toContain(PRIVATE_CANARY);
    expect(JSON.stringify(rig.log())).not.toContain(PRIVATE_CANARY);
  });

  test('an event names the nodes by the definition of the workflow, which is read once', async () => {
    await start({ polling: { min_interval: '50s' } });
    const steps = [{ after_ms: 0, status: 'running', progress: 30 }];
    const runIds = Array.from({ length: 3 }, () => {
      return rig.simulator.add({ steps, workflow_id: DEFAULT_WORKFLOW_ID }).id;
    });
    await streamed(runIds);
    const names = () => rig.stores.nodeNames.get(SOURCE, DEFAULT_WORKFLOW_ID);
    await waitFor(async () => (await names()) !== null);
    for (const id of runIds) rig.simulator.setStatus(id, 'failed');
    await told(runIds, 'failed');
    const events = (await rig.events()).filter(({ type }) => type === 'run.failed');
    expect(events.map(({ data }) => data.nodes?.names)).toEqual(
      runIds.map(() => ({ 'node-2': 'Extract fields' })),
    );
    expect(await rig.metrics()).toMatch(/runwatch_requests_total\{[^}]*kind="workflow"[^}]*\} 1\n/);
    expect(await rig.dump()).not.toContain(PRIVATE_CANARY);
  });

  test('reads of a believed workflow are left to its streams, but for one run in twenty', async () => {
    await start({ polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off' } });
    await believe(['completed', 'failed']);
    const steps = [{ after_ms: 0, status: 'running' }];
    const control = idThat(keepsCadence);
    const others = Array.from({ length: 4 }, () => idThat((id) => !keepsCadence(id)));
    for (const id of [control, ...others]) rig.simulator.add({ id, steps, workflow_id: WORKFLOW });
    await streamed([control, ...others]);
    await waitFor(async () => (await relied()).length === others.length);
    expect(await relied()).toEqual(others.toSorted());
  });

  test('the awaiting of a workflow that is believed for ends alone is not left to streams', async () => {
    await start({ polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off' } });
    const believed = 'ab000000-0000-4000-8000-000000000002';
    await believe(['completed'], believed);
    await believe(['completed']);
    await rig.stores.redis.hset(rig.stores.keys.streamTrust(SOURCE), `${WORKFLOW}/awaiting`, '0');
    const id = idThat((one) => !keepsCadence(one));
    const steps = [{ after_ms: 0, status: 'running' }];
    rig.simulator.add({ id, steps, workflow_id: believed });
    const runIds = add(3, { silent_on: [AWAITING] });
    await streamed([id, ...runIds]);
    await waitFor(async () => (await relied()).includes(id));
    expect(await relied()).toEqual([id]);
    for (const runId of runIds) rig.simulator.setStatus(runId, AWAITING);
    await told(runIds, AWAITING);
  });
});

test('a wait that a read finds of a run without a stream keeps the runs of its workflow at their cadence', async () => {
  await start({
    polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off', hint_streams: 1 },
  });
  await believe(['completed']);
  const id = idThat((one) => !keepsCadence(one));
  rig.simulator.add({ id, steps: [{ after_ms: 0, status: 'running' }], workflow_id: WORKFLOW });
  await streamed([id]);
  await waitFor(async () => (await relied()).includes(id));
  const [other = ''] = add(1);
  await rig.watch([other]);
  await told([other], 'running');
  rig.simulator.setStatus(other, AWAITING);
  await told([other], AWAITING);
  await waitFor(async () => (await relied()).length === 0);
  expect((await trust()).awaiting).toBe('');
});

describe('streams that tell little', () => {
  test('transitions that streams do not tell are found by reads, and count against the streams', async () => {
    await start({ polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off' } });
    const runIds = add(3, { silent_on: ['*'] });
    await streamed(runIds);
    for (const id of runIds) rig.simulator.setStatus(id, 'stopped');
    await told(runIds, 'stopped');
    await waitFor(async () => (await trust()).stopped === '000');
    await waitFor(() => rig.simulator.streams.open === 0);
  });

  test('a lie of a stream causes three reads and no event', async () => {
    await start({ polling: { min_interval: '50s' } });
    const [runId = ''] = add(1);
    rig.simulator.fault({ kind: 'claim', status: 'completed', on: 'stream', run_id: runId });
    await streamed([runId]);
    await waitFor(() => rig.log().some(({ msg }) => msg === 'stream.contradicted'));
    const [before] = reads([runId]);
    expect(before).toBeLessThanOrEqual(4);
    expect(await statusOf(runId)).toBe('running');
    expect(await rig.metrics()).toMatch(/runwatch_stream_hints_wrong_total\{source="\w+"\} 1/);
  });

  test('a stream that breaks is resumed behind its last event', async () => {
    await start({ polling: { min_interval: '50s' } });
    const [runId = ''] = add(1, { state_every_ms: 50 });
    rig.simulator.fault({ kind: 'drop', after_ms: 300, on: 'stream', run_id: runId, count: 1 });
    await rig.watch([runId]);
    await waitFor(() => rig.simulator.streams.opened === 2);
    expect(rig.simulator.streams.resumed).toBe(1);
    expect(rig.simulator.requests.run(runId).count).toBe(1);
    rig.simulator.setStatus(runId, 'completed');
    await told([runId], 'completed');
  });
});

test('a stream that breaks soon is not opened again at each read, nor is that of a sample', async () => {
  await start({ polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off' } });
  rig.simulator.fault({ kind: 'drop', after_ms: 20, on: 'stream' });
  const steps = [{ after_ms: 0, status: 'running' }];
  const samples = [idThat(isSample), idThat(isSample)];
  for (const id of samples) rig.simulator.add({ id, steps });
  const runIds = [...add(2), ...samples];
  await rig.watch(runIds);
  await waitFor(() => reads(runIds).every((count) => count > 30));
  const all = reads(runIds).reduce((sum, count) => sum + count, 0);
  expect(rig.simulator.streams.opened).toBeLessThan(all / 4);
});

const BROKEN: [string, FaultInput][] = [
  ['that hang', { kind: 'silence' }],
  ['that are reset', { kind: 'reset' }],
  ['of garbage', { kind: 'garbage' }],
  ['of HTML', { kind: 'html' }],
  ['of one endless line', { kind: 'endless_line' }],
  ['with status 500', { kind: 'status', status: 500 }],
  ['with status 404', { kind: 'status', status: 404 }],
  ['that drip', { kind: 'drip', ms: 60_000 }],
];

describe('broken streams', () => {
  test.each(BROKEN)('runs with streams %s have the events that reads find', async (_, fault) => {
    await start({ polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off' } });
    const runIds = add(4);
    rig.simulator.fault({ ...fault, on: 'stream' });
    await rig.watch(runIds);
    // By then streams were asked for, and reads go on.
    await waitFor(() => reads(runIds).every((count) => count > 5));
    for (const id of runIds) rig.simulator.setStatus(id, 'completed');
    await told(runIds, 'completed');
  });

  test('a source that refuses streams of three runs is asked for none for ten minutes, said once', async () => {
    await start({ polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off' } });
    rig.simulator.fault({ kind: 'status', status: 404, on: 'stream' });
    const runIds = add(8);
    await rig.watch(runIds);
    const refusals = () => rig.log().filter(({ msg }) => msg === 'streams.unavailable').length;
    await waitFor(() => refusals() === 1);
    const more = add(5);
    await rig.watch(more);
    await waitFor(() => reads(more).every((count) => count > 10));
    const all = [...runIds, ...more];
    const opened = rig.simulator.requests.total - reads(all).reduce((sum, one) => sum + one, 0);
    expect(opened).toBeLessThanOrEqual(8);
    expect(refusals()).toBe(1);
  });

  test('a stream that is throttled pauses the source as asked, and no stream follows soon', async () => {
    await start({ polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off' } });
    const fault: FaultInput = { kind: 'status', status: 429, retry_after: 1, on: 'stream' };
    rig.simulator.fault(fault);
    const runIds = add(2);
    await rig.watch(runIds);
    await waitFor(() => reads(runIds).every((count) => count > 20));
    const opened = rig.simulator.requests.total - reads(runIds).reduce((sum, one) => sum + one, 0);
    expect(opened).toBeLessThanOrEqual(2);
    expect(rig.log()).toContainEqual(
      expect.objectContaining({ msg: 'source.paused', pause_ms: 1_000 }),
    );
  });
});

describe('streams of several processes', () => {
  test('a run has one stream, whichever process reads it', async () => {
    await start({
      pollers: 3,
      polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off' },
    });
    const runIds = add(4);
    await streamed(runIds);
    await waitFor(() => reads(runIds).every((count) => count > 20));
    expect(rig.simulator.streams.maxOpen).toBe(4);
    for (const id of runIds) rig.simulator.setStatus(id, 'completed');
    await told(runIds, 'completed');
    await waitFor(async () => (await rig.stores.streams.count(SOURCE)) === 0);
  });
});
