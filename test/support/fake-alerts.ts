import type { Alert } from '../../src/core/alert/alert.ts';
import type { AlertEvent, Rule } from '../../src/core/alert/rule.ts';
import { shownAlert } from '../../src/alert/event.ts';
import type { Served } from './fake-services.ts';

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

function anAlert(changes: Partial<Alert> = {}): Alert {
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

/** Services in memory, with one alert and no rule. */
export function fakeAlertServices(): Pick<Served, 'alerts' | 'silences' | 'rules'> {
  let alert = anAlert();
  const isIt = (id: string) => id === alert.id;
  return {
    alerts: {
      list: async () => ({ items: [alert], nextCursor: null }),
      get: async (id) => (isIt(id) ? alert : null),
      showAll: async (all) => all.map((one) => shownAlert(one, null)),
      show: async (one) => shownAlert(one, null),
      async acknowledge(id, { by, comment = null }) {
        if (!isIt(id)) return 'not_found';
        const acknowledged = { by, comment, at: NOW, until: null };
        return (alert = { ...alert, state: 'acknowledged', acknowledged });
      },
      async withdraw(id) {
        if (!isIt(id)) return 'not_found';
        return (alert = { ...alert, state: 'firing', acknowledged: null });
      },
      async resolve(id, { by, comment = null }) {
        if (!isIt(id)) return null;
        const resolvedBy = alert.resolvedBy ?? { by, comment };
        return (alert = { ...alert, state: 'resolved', resolvedAt: NOW, resolvedBy });
      },
    },
    silences: {
      async add({ matchers, by, comment, key = null }) {
        const times = { startsAt: NOW, until: NOW + 3_600_000, createdAt: NOW };
        const silence = { id: 'sil_1', matchers, by, comment, key, ...times };
        return { silence: { ...silence, state: 'active' }, isNew: key === null };
      },
      list: async () => [],
      expire: async (id) => id === 'sil_1',
      preview: async () => ({ alerts: [alert], events: { count: 0, byRule: {}, byType: {} } }),
    },
    rules: {
      rehearse: async () => ({
        names: [],
        limits: new Map(),
        since: NOW - 86_400_000,
        until: NOW,
        events: 0,
        notifications: [],
        counts: new Map(),
        isCapped: false,
      }),
    },
  };
}
