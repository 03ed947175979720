import type { SentEvent, SentRun } from '../../src/deliver/channels/notice/sent-event.ts';

const RUNWATCH = 'https://runwatch.example.com';
const NOXUS = 'https://app.noxus.example/runs';

/** Run ids that look like those of Noxus. */
function sampleRunId(number: number): string {
  return `0b1c2d3e-4f50-4617-8293-${String(number).padStart(12, '0')}`;
}

interface Sample {
  number?: number;
  workflow?: { id: string; name: string | null };
  run?: Partial<SentRun> | null;
  data?: Partial<SentEvent['data']>;
}

export const INVOICES = { id: '3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11', name: 'invoices' };

/** An event of a run as it is stored: it failed at 60 % after 6 s, unless the sample says otherwise. */
export function sampleEvent(type: string, sample: Sample = {}): SentEvent {
  const { number = 1, workflow = INVOICES, run = {}, data = {} } = sample;
  const runId = sampleRunId(number);
  const snapshot = {
    id: runId,
    workflow_id: workflow.id,
    status: type.startsWith('run.') ? type.slice('run.'.length) : 'running',
    progress: 60,
    started_at: '2026-01-01T12:00:00.000Z',
    finished_at: '2026-01-01T12:00:06.000Z',
    observed_at: '2026-01-01T12:00:07.000Z',
  };
  return {
    id: `evt_${number}`,
    type,
    timestamp: '2026-01-01T12:00:06.000Z',
    data: {
      run_id: runId,
      run: run === null ? null : { ...snapshot, ...run },
      nodes: null,
      workflow_name: workflow.name,
      run_url: `${NOXUS}/${runId}`,
      watch_url: `${RUNWATCH}/runs/default/${runId}`,
      detected_at: '2026-01-01T12:00:07.000Z',
      watch: { source: 'default', metadata: { team: 'billing' } },
      ...data,
    },
  };
}

/** Several failed runs, of two workflows in turn. */
export function sampleFailures(count: number): [SentEvent, ...SentEvent[]] {
  const reports = { id: '9a8b7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d', name: 'monthly report' };
  const failure = (number: number) =>
    sampleEvent('run.failed', { number, workflow: number % 3 === 0 ? reports : INVOICES });
  return [failure(1), ...Array.from({ length: count - 1 }, (_, at) => failure(at + 2))];
}

type Alert = NonNullable<SentEvent['data']['alert']>;

/** A change of an alert about failed runs. */
export function sampleAlert(
  type: string,
  { alert = {}, data = {} }: { alert?: Partial<Alert>; data?: Partial<SentEvent['data']> } = {},
): SentEvent {
  const runs = Array.from({ length: 5 }, (_, at) => ({
    run_id: sampleRunId(at + 1),
    workflow_id: INVOICES.id,
    name: INVOICES.name,
    url: `${NOXUS}/${sampleRunId(at + 1)}`,
    status: 'failed',
    at: '2026-01-01T12:00:06.000Z',
  }));
  return {
    id: `evt_${type.slice('alert.'.length)}`,
    type,
    timestamp: '2026-01-01T12:00:36.000Z',
    data: {
      alert: {
        id: 'alr_7f3a',
        rule: 'failed-runs',
        labels: { source: 'default', workflow_id: INVOICES.id },
        state: 'firing',
        severity: 'error',
        owner: '@ana',
        count: 12,
        runs,
        started_at: '2026-01-01T12:00:06.000Z',
        updated_at: '2026-01-01T12:00:36.000Z',
        resolved_at: null,
        acknowledged: null,
        annotations: { runbook_url: 'https://wiki.example.com/invoices' },
        url: `${RUNWATCH}/alerts/alr_7f3a`,
        ...alert,
      },
      repeat: false,
      escalation: null,
      digest: null,
      ...data,
    },
  };
}

/** A batch of 40 runs, of which some have failed. */
export function sampleBatch(
  type: 'batch.completed' | 'batch.failed',
  { failures, data = {} }: { failures: number; data?: Partial<SentEvent['data']> },
): SentEvent {
  const failed = Array.from({ length: failures }, (_, at) => sampleRunId(at + 1));
  return {
    id: `evt_${type.slice('batch.'.length)}`,
    type,
    timestamp: '2026-01-01T14:05:00.000Z',
    data: {
      batch: 'nightly',
      batch_id: 'bat_7f3a',
      total: 40,
      max_failed: 3,
      by_status: { completed: 40 - failures, ...(failures > 0 && { failed: failures }) },
      failed_runs: failed.slice(0, 10).map((runId) => ({
        run_id: runId,
        source: 'default',
        workflow_id: INVOICES.id,
        workflow_name: INVOICES.name,
        status: 'failed',
        run_url: `${NOXUS}/${runId}`,
        watch_url: `${RUNWATCH}/runs/default/${runId}`,
      })),
      batch_url: `${RUNWATCH}/batches/bat_7f3a`,
      duration_ms: 7_500_000,
      ...data,
    },
  };
}

/** An event about runwatch itself. */
export function sampleSystemEvent(type: string, data: Record<string, unknown>): SentEvent {
  return { id: 'evt_sys', type, timestamp: '2026-01-01T12:00:00.000Z', data };
}
