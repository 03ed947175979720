import { expect, test } from '@jest/globals';
import { createLinksOf } from '../../src/core/run/links.ts';
import { configSchema } from '../../src/config/schema.ts';
import { EventService } from '../../src/http/events.ts';
import { WorkflowNames } from '../../src/source/workflow-names.ts';
import { NOON } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { INVOICES, sampleAlert, sampleEvent } from '../support/sample-events.ts';

const WITHIN_MS = 2_000;
const NODES = { executed: 1, remaining: 1, running: [], failed: ['node-4'] };
const WORKFLOW = { source: 'default', workflowId: INVOICES.id };

/** What a process knows of names, with a source that gives them. */
function knownBy() {
  let now = NOON;
  const stored = { workflows: new Map<string, string>(), nodes: new Map<string, string>() };
  const count = { reads: 0, turns: 0 };
  const workflowNames = new WorkflowNames(
    {
      async all() {
        count.reads += 1;
        return new Map(stored.workflows);
      },
      async some() {
        count.reads += 1;
        return new Map(stored.workflows);
      },
      put: async () => undefined,
      claimPass: async () => true,
    },
    () => now,
  );
  const config = configSchema.parse({ data_dir: '/d', sources: { default: { api_key: 'key' } } });
  const learnedName = workflowNames.nameOf.bind(workflowNames);
  const process = testProcess({
    config,
    now: () => now,
    workflowNames,
    linksOf: createLinksOf({ config, learnedName }),
    stores: {
      nodeNames: {
        async get() {
          count.reads += 1;
          return stored.nodes.size === 0 ? null : new Map(stored.nodes);
        },
        put: async () => undefined,
      },
    },
  });
  const { knownNames, nodeNames } = process;
  knownNames.readBy('default', () => (count.turns += 1));
  /** Reads what the source gives. */
  const tend = async (workflows: { id: string; name: string }[], nodes: Map<string, string>) => {
    const reader = {
      claimPermit: async () => ({ settle: () => undefined }),
      usedShare: async () => 0,
      readWorkflows: async () => ({
        kind: 'page' as const,
        page: { workflows, items: workflows.length, isLast: true, isCut: false },
      }),
      readDefinition: async () => ({ kind: 'definition' as const, names: nodes }),
    };
    await workflowNames.tend('default', reader);
    await nodeNames.tend('default', reader);
  };
  return {
    process,
    knownNames,
    workflowNames,
    stored,
    count,
    tend,
    pass: (ms: number) => (now += ms),
  };
}

const unnamed = { id: INVOICES.id, name: null };
const RUN = sampleEvent('run.failed', { workflow: unnamed });

test('a message waits for the name of its workflow, which is read at once, and no longer than that', async () => {
  const { knownNames, tend, count } = knownBy();
  await tend([], new Map());
  expect(await knownNames.isExpected(RUN, WITHIN_MS)).toBe(true);
  expect(count.turns).toBe(1);
  await tend([INVOICES], new Map());
  expect(await knownNames.isExpected(RUN, WITHIN_MS)).toBe(false);
  const [named] = await knownNames.named([RUN]);
  expect(named?.data.workflow_name).toBe('invoices');
  expect(RUN.data.workflow_name).toBeNull();
});

test('a message waits for the names of its nodes, of a workflow with a name', async () => {
  const { knownNames, tend } = knownBy();
  const event = sampleEvent('run.failed', { data: { nodes: NODES } });
  expect(await knownNames.isExpected(event, WITHIN_MS)).toBe(true);
  await tend([], new Map([['node-4', 'Write summary']]));
  expect(await knownNames.isExpected(event, WITHIN_MS)).toBe(false);
  const [named] = await knownNames.named([event]);
  expect(named?.data.nodes?.names).toEqual({ 'node-4': 'Write summary' });
});

test('a message of an alert waits for the names of its runs', async () => {
  const { knownNames, tend } = knownBy();
  const event = sampleAlert('alert.firing');
  for (const run of event.data.alert?.runs ?? []) run.name = null;
  await tend([], new Map());
  expect(await knownNames.isExpected(event, WITHIN_MS)).toBe(true);
  await tend([INVOICES], new Map());
  expect(await knownNames.isExpected(event, WITHIN_MS)).toBe(false);
});

test('no message waits for a source without names, and the store is not asked', async () => {
  const { knownNames, count } = knownBy();
  for (let event = 0; event < 10_000; event += 1) {
    expect(await knownNames.isExpected(RUN, WITHIN_MS)).toBe(false);
  }
  expect(count).toEqual({ reads: 0, turns: 0 });
});

test('ten thousand messages that wait cost the store and the source a few reads a second', async () => {
  const { knownNames, workflowNames, tend, count, pass } = knownBy();
  await tend([], new Map());
  count.reads = 0;
  for (let event = 0; event < 10_000; event += 1) {
    const nodes = { ...NODES, failed: [`node-${event}`] };
    const data = { nodes, workflow_name: null };
    await knownNames.isExpected(sampleEvent('run.failed', { data }), WITHIN_MS);
  }
  expect([count.reads, count.turns]).toEqual([1, 1]);
  pass(1_000);
  await knownNames.isExpected(RUN, WITHIN_MS);
  expect(count.turns).toBe(2);
  expect(workflowNames.isExpected(WORKFLOW)).toBe(true);
});

test('what another process has read of nodes is known in messages and pages, each workflow by one read', async () => {
  const { knownNames, stored, count } = knownBy();
  stored.nodes.set('node-4', 'Write summary');
  const events = Array.from({ length: 50 }, () =>
    sampleEvent('run.failed', { data: { nodes: NODES } }),
  );
  const named = await knownNames.named(events);
  expect(new Set(named.map(({ data }) => data.nodes?.names?.['node-4']))).toEqual(
    new Set(['Write summary']),
  );
  expect(count.reads).toBe(1);
});

test('the event stream of the API names events as they are known when they are sent', async () => {
  const { process, tend } = knownBy();
  process.knownNames.nameOf(WORKFLOW);
  await tend([], new Map());
  await process.knownNames.isExpected(RUN, WITHIN_MS);
  await tend([INVOICES], new Map());
  const events = {
    async *follow() {
      yield { cursor: '1', event: RUN };
      yield { cursor: '2', event: null };
    },
  };
  Object.assign(process.stores, { events });
  const service = new EventService(process);
  const followed = await service.follow({ after: '0' }, new AbortController().signal);
  const given: unknown[] = [];
  for await (const { event } of followed) given.push(event && { ...event.data }.workflow_name);
  expect(given).toEqual(['invoices', null]);
});
