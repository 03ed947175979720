import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ListOutcome } from '../../src/core/feed/run-list.ts';
import { createSourceClient, type SourceClient } from '../../src/fetch/client.ts';
import { pageRequest, workflowsRequest } from '../../src/noxus/listing.ts';
import { definitionRequest } from '../../src/noxus/definition.ts';
import { noxusHeaders } from '../../src/noxus/port.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { PRIVATE_CANARY } from '../../src/simulator/wire-run.ts';
import { growthByBody } from '../support/heap.ts';

const WORKFLOW = '5f0c2b7e-3a4d-4c55-9a53-0c1d2e3f4a5b';
const MIB = 1_048_576;
const LONG_MS = 20_000;

let simulator: Simulator;
let client: SourceClient;
let requests: { kind: string; status: number | null }[];
const closers: (() => void)[] = [];

beforeEach(async () => {
  requests = [];
  simulator = await startSimulator();
  client = clientOf(simulator.url);
});

afterEach(async () => {
  for (const close of closers.splice(0)) close();
  await simulator.close();
});

function clientOf(baseUrl: string, timeoutMs = LONG_MS): SourceClient {
  const made = createSourceClient({
    baseUrl,
    headers: noxusHeaders(simulator.apiKey),
    timeoutMs,
    userAgent: 'runwatch/test',
    maxSockets: 4,
    onRequest: ({ kind, status }) => requests.push({ kind, status }),
  });
  closers.push(made.close);
  return made;
}

/** A client of a server that answers in its own way. */
async function clientOfServer(answer: RequestListener): Promise<SourceClient> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return clientOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
}

/** A client of a server that answers everything with this JSON. */
const clientOfJson = (body: unknown) =>
  clientOfServer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });

const readAll = (size = 100, page = 1) =>
  client.send(pageRequest({ workflowId: null, page, size }));

const idsOf = (outcome: ListOutcome) =>
  outcome.kind === 'page' ? outcome.page.runs.map(({ id }) => id) : outcome;

const messageOf = (outcome: ListOutcome) => ('message' in outcome ? outcome.message : outcome.kind);

/** Runs `run-1` to `run-<count>`, the last of them the newest. */
function addRuns(count: number): void {
  for (let number = 1; number <= count; number += 1) {
    simulator.add({ id: `run-${number}`, workflow_id: WORKFLOW });
  }
}

describe('reading a page of runs', () => {
  test('a list page gives of each run what a hint needs, and nothing private', async () => {
    simulator.add({
      id: 'run-1',
      workflow_id: WORKFLOW,
      created_at: '2026-01-01T00:00:00.000Z',
      timestamps: 'naive',
      steps: [{ after_ms: 1_000, status: 'completed', progress: 100 }],
    });
    const outcome = await client.send(pageRequest({ workflowId: WORKFLOW, page: 1, size: 10 }));
    expect(outcome).toEqual({
      kind: 'page',
      page: {
        runs: [
          {
            id: 'run-1',
            workflow_id: WORKFLOW,
            status: 'completed',
            progress: 100,
            created_at: '2026-01-01T00:00:00.000Z',
          },
        ],
        isLast: true,
        isCut: false,
        bytes: expect.any(Number),
      },
    });
    expect(JSON.stringify(outcome)).not.toContain(PRIVATE_CANARY);
    expect(requests).toEqual([{ kind: 'list', status: 200 }]);
  });

  test('reading a list goes on from page to page until the last', async () => {
    addRuns(5);
    const pages = [await readAll(2, 1), await readAll(2, 2), await readAll(2, 3)];
    expect(pages.map(idsOf)).toEqual([['run-5', 'run-4'], ['run-3', 'run-2'], ['run-1']]);
    expect(pages.map((one) => one.kind === 'page' && one.page.isLast)).toEqual([
      false,
      false,
      true,
    ]);
  });

  test('reading the list of a workflow asks for that workflow alone', async () => {
    addRuns(1);
    simulator.add({ id: 'of-another-workflow' });
    expect(idsOf(await readAll())).toEqual(['of-another-workflow', 'run-1']);
    expect(
      idsOf(await client.send(pageRequest({ workflowId: WORKFLOW, page: 1, size: 9 }))),
    ).toEqual(['run-1']);
  });

  test('a list page needs only id and status of an item, and leaves out an item without', async () => {
    const item = { id: 'a', status: 'running' };
    const lenient = await clientOfJson({ items: [item, { id: 'b' }] });
    const outcome = await lenient.send(pageRequest({ workflowId: 'w', page: 1, size: 2 }));
    expect(outcome).toMatchObject({
      page: { runs: [{ id: 'a', progress: null, created_at: null }] },
    });
  });

  test.each([400, 403, 404, 405, 422, 501])(
    'a list answered with %d does not exist',
    async (status) => {
      simulator.fault({ kind: 'status', status });
      const message = expect.stringMatching(`^status ${status} \\(request id \\S+\\)$`);
      expect(await readAll()).toEqual({ kind: 'not_offered', status, message });
    },
  );

  test('a failed read of a list has the trouble of a read of a run, and is not retried', async () => {
    simulator.fault({ kind: 'status', status: 429, retry_after: 7, count: 1 });
    expect(await readAll()).toMatchObject({ kind: 'rate_limited', retryAfterMs: 7_000 });
    simulator.fault({ kind: 'status', status: 401, count: 1 });
    expect((await readAll()).kind).toBe('unauthorized');
    simulator.fault({ kind: 'status', status: 502, count: 1 });
    expect((await readAll()).kind).toBe('unavailable');
    simulator.fault({ kind: 'reset', count: 1 });
    expect((await readAll()).kind).toBe('unavailable');
    expect(requests.map(({ status }) => status)).toEqual([429, 401, 502, null]);
  });

  test('an answer that is no list page is refused, and nothing of it is quoted', async () => {
    addRuns(1);
    const wrong = [
      { kind: 'wrong_shape' },
      { kind: 'html' },
      { kind: 'garbage' },
      { kind: 'truncated' },
    ] as const;
    for (const fault of wrong) {
      simulator.fault({ ...fault, count: 1 });
      const outcome = await readAll();
      expect(outcome.kind).toBe('invalid_response');
      expect(JSON.stringify(outcome)).not.toContain('CANARY');
    }
  });

  test.each([
    ['items of which none has a status', { items: [{ id: 'a' }] }, 'both id and status'],
    ['another page', { items: [], page: 2 }, 'another page'],
    ['a page of another size', { items: [], size: 50 }, 'another page'],
    ['no list', { items: {} }, 'items: expected a list'],
  ])('refuses %s', async (_, body, message) => {
    const strange = await clientOfJson(body);
    const outcome = await strange.send(pageRequest({ workflowId: null, page: 1, size: 2 }));
    expect(outcome.kind).toBe('invalid_response');
    expect(messageOf(outcome)).toContain(message);
  });

  test('one deadline covers a list page, however slowly its body comes', async () => {
    const slow = clientOf(simulator.url, 200);
    simulator.fault({ kind: 'drip', ms: 5_000 });
    expect(messageOf(await slow.send(pageRequest({ workflowId: null, page: 1, size: 2 })))).toBe(
      'timed out after 200ms reading the body of the answer',
    );
  });

  test('reading a list page ends when the client is closed', async () => {
    simulator.fault({ kind: 'stall', ms: LONG_MS });
    const reading = readAll();
    setImmediate(() => client.close());
    await expect(reading).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('a list page with runs that carry large documents', () => {
  test('a list page is read whole up to 16 MiB', async () => {
    addRuns(100);
    simulator.fault({ kind: 'bulky', bytes: 100_000 });
    expect(idsOf(await readAll())).toHaveLength(100);
  });

  test('a list page beyond 16 MiB is cut, and a smaller page of the runs read so far is whole', async () => {
    addRuns(100);
    simulator.fault({ kind: 'bulky', bytes: MIB });
    const cut = await readAll();
    expect(cut).toMatchObject({ kind: 'page', page: { isCut: true, isLast: false } });
    const ids = idsOf(cut) as string[];
    expect(ids).toHaveLength(15);
    const whole = await readAll(15);
    expect(whole).toMatchObject({ page: { isCut: false } });
    expect(idsOf(whole)).toEqual(ids);
  });

  test('a list page costs no more memory than its flat fields, whatever passes', async () => {
    const run = '"id":"a","status":"running"';
    let growth = Infinity;
    const large = await clientOfServer((_, response) => {
      const body = {
        head: `{"items":[{"workflow":{"text":"`,
        bytes: 15 * MIB,
        tail: `"},${run}}]}`,
      };
      void growthByBody(response, body).then((bytes) => (growth = bytes));
    });
    expect(idsOf(await large.send(pageRequest({ workflowId: null, page: 1, size: 2 })))).toEqual([
      'a',
    ]);
    expect(growth).toBeLessThan(2 * MIB);
  });

  test('a list page is refused where not even one run of it fits', async () => {
    const endless = await clientOfServer((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"items":[{"id":"a","definitions":"');
      const pour = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      };
      response.on('drain', pour);
      pour();
    });
    const outcome = await endless.send(pageRequest({ workflowId: null, page: 1, size: 2 }));
    expect(messageOf(outcome)).toContain('without a whole run');
  });
});

describe('reading a page of workflows', () => {
  test('a page of workflows gives ids and names, and nothing of their definitions', async () => {
    const page = await client.send(workflowsRequest({ page: 1, size: 2 }));
    expect(page).toEqual({
      kind: 'page',
      page: {
        workflows: [
          { id: expect.any(String), name: 'anything' },
          { id: expect.any(String), name: 'completes' },
        ],
        items: 2,
        isLast: false,
        isCut: false,
      },
    });
    expect(await client.send(workflowsRequest({ page: 9, size: 100 }))).toMatchObject({
      kind: 'page',
      page: { workflows: [], isLast: true },
    });
    expect(requests.map(({ kind }) => kind)).toEqual(['list', 'list']);
  });

  test('workflows without a usable name are left out of a page', async () => {
    const items = [
      { id: 'a', name: ' two\nlines\u202e ' },
      { id: 'b', name: '  ' },
      { id: 'c', name: null },
      { name: 'd' },
      { id: 'e', name: 'x'.repeat(300) },
      'f',
    ];
    const odd = await clientOfJson({ items });
    const outcome = await odd.send(workflowsRequest({ page: 1, size: 10 }));
    expect(outcome).toMatchObject({
      page: {
        workflows: [
          { id: 'a', name: 'two lines' },
          { id: 'e', name: 'x'.repeat(200) },
        ],
        items: 6,
      },
    });
  });

  test('texts of lists and definitions lose tags, bidirectional controls and half surrogates', async () => {
    const [given, kept] = ['w\u202e\u{e0041}\ud800', 'w\ufffd'];
    const items = [{ id: given, name: given }];
    const definition = {
      nodes: [
        { id: given, name: given },
        { id: 'n2', name: '\u202e' },
      ],
    };
    const odd = await clientOfJson({ items, definition });
    expect(await odd.send(workflowsRequest({ page: 1, size: 10 }))).toMatchObject({
      page: { workflows: [{ id: encodeURIComponent(kept), name: 'w  \ufffd' }] },
    });
    const read = await odd.send(definitionRequest('w'));
    expect(read).toEqual({ kind: 'definition', names: new Map([[kept, kept]]) });
  });

  test.each([403, 404])(
    'a list of workflows that is answered by %s is not offered',
    async (status) => {
      const refusing = await clientOfServer((_, response) => response.writeHead(status).end());
      expect(await refusing.send(workflowsRequest({ page: 1, size: 10 }))).toMatchObject({
        kind: 'not_offered',
        status,
      });
    },
  );
});
