import type { SilenceRequest } from '../../src/alert/silences.ts';
import type { Alert } from '../../src/core/alert/alert.ts';
import type { AlertEvent, Rule } from '../../src/core/alert/rule.ts';
import type { Silence } from '../../src/core/alert/silence.ts';
import type { AcknowledgeRequest } from '../../src/core/watch/acknowledgement.ts';
import { testProcess } from './daemon.ts';

const NOW = Date.parse('2025-05-04T10:00:00.000Z');

export function aRule(changes: Partial<Rule> = {}): Rule {
  return {
    name: 'failed-runs',
    events: ['run.failed'],
    when: undefined,
    groupBy: ['source', 'workflow_id'],
    groupWaitMs: 30_000,
    groupIntervalMs: 300_000,
    repeatIntervalMs: 14_400_000,
    maxRuns: 5,
    condition: { kind: 'each' },
    forMs: 0,
    keepFiringForMs: 0,
    resolve: { events: ['run.completed'], count: 1, settleMs: 0, afterMs: null },
    severity: 'error',
    owner: '@ana',
    ownerOf: () => null,
    nameOf: () => null,
    annotations: {},
    notify: ['chat'],
    pagers: [],
    mute: [],
    escalate: [],
    ...changes,
  };
}

export function anAlertEvent(changes: Partial<AlertEvent> & { runId?: string } = {}): AlertEvent {
  const { runId = 'run-1', ...fields } = changes;
  const type = fields.type ?? 'run.failed';
  return {
    id: `evt_${runId}_${type}`,
    type,
    at: NOW,
    source: 'default',
    metadata: {},
    run: {
      runId,
      workflowId: 'wf-1',
      name: 'invoices',
      url: null,
      status: type.slice('run.'.length),
    },
    ...fields,
  };
}

export function anAlert(changes: Partial<Alert> = {}): Alert {
  return {
    id: 'alr_0123456789abcdef0123_0123456789',
    rule: 'failed-runs',
    labels: { source: 'default', workflow_id: 'wf-1' },
    state: 'firing',
    severity: 'error',
    owner: null,
    annotations: {},
    count: 3,
    runsTotal: 3,
    runs: [],
    startedAt: NOW,
    updatedAt: NOW,
    resolvedAt: null,
    reason: null,
    acknowledged: null,
    notified: [],
    ...changes,
  };
}

/** What the slices of alerts, silences and rules ask, in memory: there is one alert, and no rule. */
export function fakeAlerting() {
  let alert = anAlert();
  const silences = new Map<string, Silence>();
  const isIt = (id: string) => id === alert.id;
  return {
    process: testProcess({
      now: () => NOW,
      stores: {
        alerts: {
          list: async () => ({ items: [alert], nextCursor: null }),
          countByState: async () => ({
            pending: 0,
            firing: 0,
            acknowledged: 0,
            resolved: 0,
            [alert.state]: 1,
          }),
          get: async (id) => (isIt(id) ? alert : null),
          groups: async () => new Map(),
        },
        silences: { all: async () => [...silences.values()] },
      },
    }),
    suppressorsOf: async () => new Map(),
    engine: {
      async acknowledge(id: string, request: AcknowledgeRequest | null) {
        if (!isIt(id)) return 'not_found' as const;
        const acknowledged = request && { ...request, at: NOW };
        const state = acknowledged === null ? ('firing' as const) : ('acknowledged' as const);
        return (alert = { ...alert, state, acknowledged });
      },
      async resolve(id: string, by: { by: string; comment: string | null }) {
        if (!isIt(id)) return null;
        const resolvedBy = alert.resolvedBy ?? by;
        return (alert = { ...alert, state: 'resolved', resolvedAt: NOW, resolvedBy });
      },
    },
    silences: {
      async add(request: SilenceRequest) {
        const silence = { ...request, id: 'sil_1', createdAt: NOW };
        silences.set(silence.id, silence);
        return { silence, isNew: request.key === null };
      },
      list: async () => [...silences.values()],
      expire: async (id: string) => silences.has(id),
      preview: async () => ({ alerts: [alert], events: { count: 0, byRule: {}, byType: {} } }),
    },
    rules: {
      book: { all: [], named: () => undefined },
      tried: (): object => ({ book: { all: [] } }),
    },
    rehearsals: {
      rehearse: async () => ({
        limits: new Map(),
        events: 0,
        notifications: [],
        counts: new Map(),
        isCapped: false,
      }),
    },
  };
}
