import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runCli } from '../support/cli-harness.ts';
import { eventsOf, watchOf, type WatchJson } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const WORKFLOW = '0b8a4e5c-3c0e-4a3e-9a57-6c1de2f6a111';
const RUNS = 8;

/** When runs are over, ms after they were seen first. */
const LASTS_MS = 1_000;

let noxus: Simulator;
let daemon: DaemonProcess;
let runIds: string[];

beforeAll(async () => {
  noxus = await startSimulator();
  daemon = await startDaemonProcess({
    config: {
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          rate_limit: { requests: 10_000, per: '1s' },
        },
      },
      polling: { min_interval: '50ms', max_interval: '200ms', lists: 'off', hints: 'off' },
    },
  });
  const script = {
    workflow_id: WORKFLOW,
    // However busy the machine is, each run is seen before it ends.
    starts: 'when_read' as const,
    steps: [
      { after_ms: 100, status: 'running' },
      { after_ms: LASTS_MS, status: 'completed', progress: 100 },
    ],
  };
  runIds = Array.from({ length: RUNS }, () => noxus.add(script).id);
  const watches = runIds.map((id) => ({ run_id: id }));
  await daemon.api('/v1/watches/batch', { watches });
  await waitFor(
    async () => {
      const { body } = await daemon.api('/v1/watches?state=finished');
      return body.data.length === RUNS;
    },
    { describe: 'all runs to be seen completed' },
  );
});

afterAll(async () => {
  await stopAll([daemon]);
  await noxus.close();
});

const timeOf = (run: WatchJson['run'], name: string) => Date.parse(String(run?.[name]));

const mean = (values: number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;

const cli = (...args: string[]) => runCli(args, { env: { RUNWATCH_URL: daemon.url } });

describe('statistics of a workflow', () => {
  test('GET /v1/polling returns run durations, requests and detection delays of a workflow', async () => {
    const { body } = await daemon.api(`/v1/polling?workflow_id=${WORKFLOW}`);
    expect(body.data).toHaveLength(1);
    const [known] = body.data;
    expect(known).toMatchObject({ source: 'default', workflow_id: WORKFLOW, runs: RUNS });
    const watches = await Promise.all(runIds.map((id) => watchOf(daemon, id)));
    const lasted = watches.map(({ run }) => timeOf(run, 'finished_at') - timeOf(run, 'created_at'));
    // The bins of age are a quarter wide.
    expect(known.duration.median_ms).toBeGreaterThan(Math.min(...lasted) / 1.25);
    expect(known.duration.median_ms).toBeLessThan(Math.max(...lasted) * 1.25);
    const requests = runIds.map((id) => noxus.requests.run(id).count);
    expect(known.measured.requests / mean(requests)).toBeCloseTo(1, 1);
    const events = await Promise.all(runIds.map((id) => eventsOf(daemon, id)));
    const delays = events.map((list) => list.at(-1)?.data.detection_delay_ms ?? NaN);
    expect(known.measured.delay_ms / mean(delays)).toBeCloseTo(1, 1);
    expect(known.expected).toMatchObject({ profile: 'normal', requests: expect.any(Number) });
  });

  test('runwatch polling prints the statistics of a workflow, and names missing ones', async () => {
    const shown = await cli('polling', WORKFLOW);
    expect(shown.stdout).toMatch(new RegExp(`\\n${WORKFLOW} +${RUNS} +[.\\d]+m?s `));
    const unknown = await cli('polling', randomUUID());
    expect(unknown).toMatchObject({ exitCode: 1, stdout: '' });
    expect(unknown.stderr).toContain('nothing is known of workflow');
  });
});

describe('polling metrics', () => {
  let text: string;
  beforeAll(async () => {
    text = (await daemon.api<string>('/metrics')).body;
  });

  /** The sum of a metric over the series with matching labels. */
  function sumOf(name: string, labels = ''): number {
    const series = text
      .split('\n')
      .filter((line) => new RegExp(`^${name}({| ).*${labels}`).test(line));
    return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  test('metrics count polls by outcome and requests by source and kind', () => {
    const log = noxus.requests;
    const requests = log.runIds.reduce((sum, id) => sum + log.run(id).count, 0);
    expect(sumOf('runwatch_polls_total', 'outcome="run"')).toBe(requests);
    expect(sumOf('runwatch_requests_total', 'source="default",kind="run"')).toBe(requests);
  });

  test('metrics contain detection delay and lag of polls', () => {
    expect(sumOf('runwatch_detection_delay_seconds_count')).toBe(RUNS);
    expect(sumOf('runwatch_poll_lag_seconds_count')).toBe(sumOf('runwatch_polls_total'));
  });

  test('metrics contain the number of stored statistics tables', () => {
    expect(sumOf('runwatch_learned_tables')).toBeGreaterThan(0);
  });
});
