import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { GithubActions } from '../support/apis/github-actions.ts';
import { startKillableDaemon, type KillableDaemon } from '../support/killable-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const EXAMPLE = join(import.meta.dirname, '../../config/examples/sources/github-actions.yaml');

/** When the daemon is killed within an attempt; null for not at all. */
const KILLS = [null, 'registered', 'running', 'ended', 'told', null] as const;

let github: GithubActions;
let receiver: Receiver;
let daemon: KillableDaemon;

beforeAll(async () => {
  github = await new GithubActions().listen();
  receiver = await startReceiver({ secrets: [SECRET] });
  const { sources } = parse(await readFile(EXAMPLE, 'utf8')) as { sources: { github: object } };
  const rate_limit = { requests: 1_000, per: '1s' };
  daemon = await startKillableDaemon({
    env: { GH_TOKEN: github.token },
    config: {
      sources: { github: { ...sources.github, base_url: github.url, rate_limit } },
      polling: { min_interval: '50ms', max_interval: '100ms' },
      endpoints: { hooks: { type: 'webhook', url: receiver.url, secret: SECRET, events: ['*'] } },
    },
  });
});

afterAll(async () => {
  await daemon.stop();
  await Promise.all([receiver.close(), github.close()]);
});

/** Registers a run, however often the daemon is killed meanwhile. */
async function register(run_id: string): Promise<void> {
  await waitFor(async () => {
    const { status } = await daemon.current
      .api('/v1/watches', { run_id })
      .catch(() => ({ status: 0 }));
    return status === 200 || status === 201;
  });
}

async function watchOf(runId: string) {
  const path = `/v1/watches/${encodeURIComponent(runId)}`;
  return waitFor(async () => (await daemon.current.api(path).catch(() => null))?.body ?? false);
}

/** What the receiver has about a run, each event once, in the order of the run. */
function toldOf(runId: string): RunwatchEvent[] {
  const events = receiver.received.map(({ body, problem }) => {
    expect(problem).toBeNull();
    return JSON.parse(body) as RunwatchEvent;
  });
  const byId = new Map(
    events.filter(({ data }) => data.run_id === runId).map((event) => [event.id, event]),
  );
  return [...byId.values()].toSorted((one, other) => one.data.sequence - other.data.sequence);
}

const named = ({ type, data }: RunwatchEvent) => `${type} ${data.run?.attempt}`;

const untilTold = (runId: string, name: string) =>
  waitFor(() => toldOf(runId).map(named).includes(name), {
    describe: () => `${name}, of ${toldOf(runId).map(named).join(', ')}`,
  });

test('each re-run that is registered again is told once with an end of its own, whenever the daemon is killed', async () => {
  const id = github.add();
  for (const [at, kill] of KILLS.entries()) {
    const attempt = at + 1;
    const conclusion = attempt % 2 === 1 ? 'failure' : 'success';
    const end = `run.${conclusion === 'failure' ? 'failed' : 'completed'} ${attempt}`;
    if (attempt > 1) github.rerun(id);
    await register(id);
    if (kill === 'registered') await daemon.kill();
    if (attempt > 1) await untilTold(id, `run.restarted ${attempt}`);
    github.setStatus(id, 'in_progress');
    if (kill === 'running') await daemon.kill();
    await waitFor(async () => (await watchOf(id)).run?.status === 'running');
    github.setStatus(id, { completed: conclusion });
    if (kill === 'ended') await daemon.kill();
    await untilTold(id, end);
    if (kill === 'told') await daemon.kill();
    await waitFor(async () => (await watchOf(id)).state === 'finished');
    // Registered once more without a re-run, it goes back to its end.
    await register(id);
    await waitFor(async () => (await watchOf(id)).state === 'finished');
  }
  const told = toldOf(id);
  const ends = told.filter(({ type }) => /^run\.(failed|completed)$/.test(type));
  expect(ends.map(named)).toEqual([
    'run.failed 1',
    'run.completed 2',
    'run.failed 3',
    'run.completed 4',
    'run.failed 5',
    'run.completed 6',
  ]);
  expect(ends.map((event) => event.id.split('_')[1])).toEqual([
    'failed',
    'completed2',
    'failed3',
    'completed4',
    'failed5',
    'completed6',
  ]);
  const restarts = told.filter(({ type }) => type === 'run.restarted');
  expect(restarts.map(named)).toEqual([2, 3, 4, 5, 6].map((attempt) => `run.restarted ${attempt}`));
  const { body } = await daemon.current.api(`/v1/watches/${encodeURIComponent(id)}/timeline`);
  const events = (body.events as RunwatchEvent[]).map(({ type }) => type);
  expect(events.filter((type) => type === 'run.restarted')).toHaveLength(5);
  const times = (body.states as { at: string }[]).map(({ at }) => Date.parse(at));
  expect(times).toEqual(times.toSorted((one, other) => one - other));
  expect((await watchOf(id)).run).toMatchObject({ attempt: 6, status: 'completed' });
});
