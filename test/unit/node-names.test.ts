import { describe, expect, test } from '@jest/globals';
import { nodesText, type RunNodes } from '../../src/core/run/nodes.ts';
import type { DefinitionOutcome } from '../../src/core/feed/workflow.ts';
import { NodeNames, type DefinitionReader } from '../../src/source/node-names.ts';

const NODES = { executed: 7, remaining: 5, running: [], failed: ['n1'] };
const NOT_FOUND: DefinitionOutcome = { kind: 'not_offered', status: 404, message: 'status 404' };

/** Names of one source, by what its definitions answer. */
function namesOf(answer: DefinitionOutcome, options: { used?: number; permits?: number } = {}) {
  const stored = new Map<string, Map<string, string>>();
  const state = { now: 0, read: [] as string[], permits: options.permits ?? Infinity, loads: 0 };
  const store = {
    async get(_source: string, workflowId: string) {
      state.loads += 1;
      return stored.get(workflowId) ?? null;
    },
    put: async (_source: string, workflowId: string, found: ReadonlyMap<string, string>) =>
      void stored.set(workflowId, new Map(found)),
  };
  const nodeNames = new NodeNames(store, () => state.now);
  const reader: DefinitionReader = {
    readDefinition: async (workflowId) => {
      state.read.push(workflowId);
      return answer;
    },
    usedShare: async () => options.used ?? 0,
    claimPermit: async () => ((state.permits -= 1) < 0 ? null : { settle: () => undefined }),
  };
  const names = {
    /** What is known of nodes, which are wanted where they have no name. */
    named(nodes: RunNodes, workflowId: string): RunNodes {
      nodeNames.want(nodes, { source: 'default', workflowId });
      return nodeNames.named(nodes, { source: 'default', workflowId });
    },
    tend: () => nodeNames.tend('default', reader),
  };
  return { names, nodeNames, state, stored };
}

const definition = (): DefinitionOutcome => ({
  kind: 'definition',
  names: new Map([['n1', 'Extract invoice']]),
});

describe('names of nodes', () => {
  test('a definition is read once, for the first run that says where it stands', async () => {
    const { names, state, stored } = namesOf(definition());
    await names.tend();
    expect(state.read).toEqual([]);
    expect(names.named(NODES, 'w')).toEqual(NODES);
    await names.tend();
    expect(names.named(NODES, 'w').names).toEqual({ n1: 'Extract invoice' });
    for (let turn = 0; turn < 5; turn += 1) {
      state.now += 10_000;
      names.named(NODES, 'w');
      await names.tend();
    }
    expect(state.read).toEqual(['w']);
    expect([...stored.keys()]).toEqual(['w']);
  });

  test('names that another process has read cost no request', async () => {
    const { names, state, stored } = namesOf(definition());
    stored.set('w', new Map([['n1', 'Extract invoice']]));
    names.named(NODES, 'w');
    await names.tend();
    expect(names.named(NODES, 'w').names).toEqual({ n1: 'Extract invoice' });
    expect(state.read).toEqual([]);
  });

  test('names that another process has read are known at the first event, by one read of the store', async () => {
    const { nodeNames, state, stored } = namesOf(definition());
    const workflow = { source: 'default', workflowId: 'w' };
    for (let event = 0; event < 10; event += 1) await nodeNames.load(workflow);
    expect([state.loads, nodeNames.lacks(NODES, workflow)]).toEqual([1, true]);
    stored.set('w', new Map([['n1', 'Extract invoice']]));
    state.now += 1_000;
    await nodeNames.load(workflow);
    expect(nodeNames.named(NODES, workflow)).toEqual({
      ...NODES,
      names: { n1: 'Extract invoice' },
    });
  });

  test('the name that an event gives a node is kept where the definition lacks the node', async () => {
    const { names, state } = namesOf(definition());
    const nodes = { ...NODES, failed: ['n1', 'n2'], names: { n2: 'Old node' } };
    names.named(nodes, 'w');
    state.now += 10_000;
    await names.tend();
    expect(names.named(nodes, 'w').names).toEqual({ n1: 'Extract invoice', n2: 'Old node' });
  });

  test('names wait while the rate limit is used, or there is no permit', async () => {
    for (const options of [{ used: 0.6 }, { permits: 0 }]) {
      const { names, state } = namesOf(definition(), options);
      names.named(NODES, 'w');
      await names.tend();
      expect(state.read).toEqual([]);
    }
  });

  test('a node that the definition lacks has it read again, an hour later', async () => {
    const { names, state } = namesOf(definition());
    const other = { ...NODES, failed: ['n2'] };
    for (const now of [0, 10_000, 3_000_000, 3_700_000]) {
      state.now = now;
      names.named(other, 'w');
      await names.tend();
    }
    expect(state.read).toEqual(['w', 'w']);
  });

  test('a workflow that is not there leaves the others to be read', async () => {
    const { names, state } = namesOf(NOT_FOUND);
    for (const workflow of ['a', 'b']) names.named(NODES, workflow);
    await names.tend();
    state.now += 10_000;
    await names.tend();
    expect(state.read).toEqual(['a', 'b']);
  });

  test('a source that gives no definitions is asked for one in ten minutes', async () => {
    const { names, state } = namesOf({ kind: 'not_offered', status: 405, message: 'status 405' });
    for (let at = 0; at < 100; at += 1) names.named(NODES, `w${at}`);
    for (; state.now < 1_500_000; state.now += 1_000) await names.tend();
    expect(state.read.length).toBeLessThanOrEqual(3);
  });

  test('what is held of names and workflows is bounded', async () => {
    const { names, state } = namesOf(definition());
    for (let at = 0; at < 1_000; at += 1) {
      names.named(NODES, `w${at}`);
      state.now += 5_000;
      await names.tend();
    }
    expect(names.named(NODES, 'w0').names).toBeUndefined();
    expect(names.named(NODES, 'w999').names).toEqual({ n1: 'Extract invoice' });
  });
});

describe('text of where a run stands', () => {
  const text = (nodes: Parameters<typeof nodesText>[0]) => nodesText(nodes, (name) => name);

  test('names the failed nodes, and how many are done', () => {
    const names = { n1: 'Extract invoice' };
    expect(text({ ...NODES, names })).toBe('Failed at Extract invoice, 7 of 12 nodes done');
  });

  test('names running nodes by their ids where names are unknown, three at most', () => {
    const running = ['a', 'b', 'c', 'd'];
    expect(text({ executed: 0, remaining: 4, running, failed: [] })).toBe(
      'At a, b, c and 1 more, 0 of 4 nodes done',
    );
  });

  test('is nothing where nothing is known', () => {
    expect(text({ executed: 0, remaining: 0, running: [], failed: [] })).toBeNull();
  });
});
