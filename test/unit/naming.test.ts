import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { withNames, type Namer } from '../../src/core/event/naming.ts';
import type { WorkflowKey } from '../../src/core/cadence/phase.ts';
import { namedNodes } from '../../src/core/run/nodes.ts';
import { noticeOf } from '../../src/deliver/channels/notice/describe.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';
import {
  INVOICES,
  sampleAlert,
  sampleBatch,
  sampleEvent,
  sampleFailures,
  sampleSystemEvent,
} from '../support/sample-events.ts';

const NODES = { executed: 3, remaining: 2, running: [], failed: ['node-4'] };

/** Names by source and workflow, and of nodes by their ids. */
function namerOf(
  names: Readonly<Record<string, string>>,
  nodes: Readonly<Record<string, string>> = {},
  onlySource: string | null = null,
): Namer {
  return {
    onlySource,
    workflow: ({ source, workflowId }: WorkflowKey, said) =>
      names[`${source}/${workflowId}`] ?? said,
    nodes: (_, said) => namedNodes(said, new Map(Object.entries(nodes))),
  };
}

const ID = INVOICES.id;
const unnamed = { id: ID, name: null };
const NOTHING = namerOf({});
const NAMED = namerOf({ [`default/${ID}`]: 'nightly books' }, { 'node-4': 'Write summary' });

const titles = (events: readonly [SentEvent, ...SentEvent[]], namer: Namer) => {
  const [first, ...rest] = events.map((event) => withNames(event, namer));
  const notice = noticeOf([first!, ...rest]);
  return [notice.title, ...notice.lines, ...notice.runs.map(({ text }) => text)].join('\n');
};

test('a message about a run says the names of workflow and node that are known when it is sent', () => {
  const event = sampleEvent('run.failed', { workflow: unnamed, data: { nodes: NODES } });
  expect(titles([event], NOTHING)).toContain('Failed at node-4, 3 of 5 nodes done');
  const text = titles([event], NAMED);
  expect(text).toContain('nightly books failed');
  expect(text).toContain('Failed at Write summary, 3 of 5 nodes done');
});

test('a folded message counts runs by the names that are known when it is sent', () => {
  const events = sampleFailures(4);
  for (const { data } of events) data.workflow_name = null;
  expect(titles(events, NOTHING)).toContain('workflow 3f0c6f0e: 3');
  expect(titles(events, NAMED)).toContain('nightly books: 3');
});

test('a message of a batch names its failed runs by the names that are known when it is sent', () => {
  const event = sampleBatch('batch.completed', { failures: 1 });
  for (const run of event.data.failed_runs ?? []) run.workflow_name = null;
  expect(titles([event], NOTHING)).not.toContain('nightly books');
  expect(titles([event], NAMED)).toContain('nightly books · 0b1c2d3e');
});

test('a message of an alert names its runs, by its label of the source or the only source', () => {
  const event = sampleAlert('alert.firing');
  const { alert } = event.data;
  for (const run of alert?.runs ?? []) run.name = null;
  const withLabels = (labels: Record<string, string>) =>
    sampleAlert('alert.firing', { alert: { ...alert, labels } });
  const bySource = withLabels({ source: 'default', workflow_id: ID });
  expect(titles([bySource], NOTHING)).toContain('workflow 3f0c6f0e');
  expect(titles([bySource], NAMED)).toContain('nightly books');
  const ofAny = withLabels({ workflow_id: ID });
  expect(titles([ofAny], NAMED)).not.toContain('nightly books');
  const names = { [`default/${ID}`]: 'nightly books' };
  expect(titles([ofAny], namerOf(names, {}, 'default'))).toContain('nightly books');
});

test('a digest and an event about a workflow say the names of now', () => {
  const labels = { source: 'default', workflow_id: ID };
  const event = sampleAlert('alert.firing');
  const digest = {
    since: '2026-01-01T00:00:00.000Z',
    until: '2026-01-01T01:00:00.000Z',
    reason: 'muted',
    alerts: [{ labels, state: 'firing', count: 2, name: null }],
  };
  const summary = { ...event, data: { ...event.data, digest } };
  expect(titles([summary], NAMED)).toContain('nightly books');
  const stalled = sampleSystemEvent('workflow.stalled', { ...labels, workflow_name: null });
  expect(titles([stalled], NAMED)).toBe('Runs of nightly books do not move on');
});

const someName = fc.option(fc.constantFrom('invoices', 'nightly books'), { nil: null });

test('naming again changes nothing, and a name that an event has stays where none is known', () => {
  fc.assert(
    fc.property(
      fc.record({ said: someName, known: someName, saidNode: someName, knownNode: someName }),
      ({ said, known, saidNode, knownNode }) => {
        const nodes = { ...NODES, ...(saidNode !== null && { names: { 'node-4': saidNode } }) };
        const workflow = { id: ID, name: said };
        const event = sampleEvent('run.failed', { workflow, data: { nodes } });
        const names = known === null ? {} : { [`default/${ID}`]: known };
        const namer = namerOf(names, knownNode === null ? {} : { 'node-4': knownNode });
        const once = withNames(event, namer);
        expect(withNames(once, namer)).toEqual(once);
        expect(once.data.workflow_name).toBe(known ?? said);
        expect(once.data.nodes?.names?.['node-4'] ?? null).toBe(knownNode ?? saidNode);
        const { workflow_name: _name, nodes: _nodes, ...rest } = event.data;
        expect(once).toMatchObject({ ...event, data: rest });
      },
    ),
  );
});

test('an event without a workflow is left as it is', () => {
  const events = [
    sampleEvent('run.gone', { run: null, workflow: unnamed, data: { nodes: NODES } }),
    sampleSystemEvent('source.unreachable', { source: 'default' }),
  ];
  for (const event of events) expect(withNames(event, NAMED)).toEqual(event);
});
