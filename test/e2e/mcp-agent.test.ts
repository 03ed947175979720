import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startReceiver, type Receiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { waitForWatch } from '../support/daemon-listings.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';
import { McpAgent, said } from '../support/mcp-agent.ts';
import { ScriptedApi } from '../support/scripted-api.ts';
import { waitFor } from '../support/wait-for.ts';

/*
 * An AI client that sees texts alone takes each id and name from the answer before, and acts on it.
 */

const TOKEN = 'a-token-of-any-kind';
const BILLING = '7d6c5b4a-0000-4000-8000-000000000001';

let noxus: Simulator;
let ci: ScriptedApi;
let receiver: Receiver;
let receives = true;
let daemon: DaemonProcess;
let agent: McpAgent;

beforeAll(async () => {
  noxus = await startSimulator();
  receiver = await startReceiver({ secrets: [], respond: () => (receives ? 204 : 400) });
  ci = await new ScriptedApi().listen();
  ci.reply = ({ path }) => ({
    status: 200,
    body: { id: path.split('/').at(-1), state: 'OPEN', job: 'nightly' },
  });
  const declared = {
    type: 'http',
    base_url: ci.url,
    id: '{owner}/{repo}/{number}',
    run: { get: '/runs/{owner}/{repo}/{number}', id: '$.id', status: '$.state', workflow: '$.job' },
    states: { running: ['OPEN'], completed: ['DONE'] },
    rate_limit: { requests: 200, per: '1s' },
  };
  daemon = await startDaemonProcess({
    config: {
      sources: {
        default: { base_url: noxus.url, api_key: noxus.apiKey },
        ci: declared,
        mirror: declared,
      },
      workflows: { [BILLING]: { name: 'billing' } },
      polling: { min_interval: '50ms', max_interval: '200ms' },
      endpoints: {
        audit: { type: 'log', default: true },
        hooks: { type: 'webhook', url: receiver.url, events: ['run.failed'], retry: ['1ms'] },
      },
      rules: [
        { name: 'failed-runs', events: ['run.failed'], notify: ['audit'], group_wait: '50ms' },
      ],
    },
  });
  agent = await McpAgent.start(daemon.url, TOKEN);
});

afterAll(async () => {
  await agent?.close();
  await stopAll([daemon]);
  for (const one of [receiver, ci, noxus]) await one?.close();
});

/** A run of the workflow billing in a status. */
function added(status: string, progress = 40): string {
  return noxus.add({ steps: [{ after_ms: 0, status, progress }], workflow_id: BILLING }).id;
}

async function watched(status: string, endpoints = ['audit']): Promise<string> {
  const id = added(status);
  await daemon.api('/v1/watches', { run_id: id, endpoints });
  await waitForWatch(daemon, id, ({ run }) => run?.status === status);
  return id;
}

/** Waits until a tool says something. */
async function until(tool: string, given: Record<string, unknown>, pattern: RegExp) {
  let text = '';
  return waitFor(
    async () => {
      text = await agent.call(tool, given);
      return pattern.exec(text)?.[1];
    },
    { describe: () => `${tool} to say ${pattern}: ${text}` },
  );
}

test('an AI client that reads texts alone watches a run, finds it by the name of its workflow and waits for its end', async () => {
  const id = added('running');
  const { before, done } = await agent.confirm('watch_run', { run_id: id, endpoints: 'hooks' });
  expect(before).toMatch(/^This would watch 1 run: .*, and notify hooks\.[^]*Nothing has changed/);
  expect(done).toMatch(
    new RegExp(`^Run ${id} is watched now\\. Notifies endpoint hooks\\.\nRun ${id} of workflow`),
  );
  expect(await agent.call('watch_run', { run_id: id, confirm: true })).toMatch(
    /was watched already\. Notifies endpoint (hooks, endpoint audit|audit, endpoint hooks)\./,
  );

  const workflows = await agent.call('list_workflows');
  const name = said(workflows, /^Workflow "(\w+)" 7d6c/m);
  const runs = await agent.call('list_runs', { workflow_id: name, status: 'running' });
  const found = said(runs, new RegExp(`^Run (${id}) of workflow "billing" .* is running`, 'm'));
  const waiting = agent.call('wait_run', { run_id: found, timeout: '60s' });
  noxus.setStatus(id, 'completed', 100);
  expect(await waiting).toMatch(new RegExp(`^Run ${id} .* is completed .*${daemon.url}/runs/`));
});

test('an AI client that reads texts alone acknowledges the alert that list_alerts names, and takes it back', async () => {
  const run = await watched('failed');
  const id = await until('list_alerts', {}, /^(alr_\w+) of rule failed-runs \(error, firing\)/m);
  const listed = await agent.call('list_alerts');
  expect(listed).toMatch(/of workflow "billing".*; http:\S+\/alerts\/alr_\w+$/m);
  expect(listed).toMatch(/^1 alert in all, the newest first\.$/m);
  const beginning = id.slice(0, 10);
  const { before, done } = await agent.confirm('acknowledge', { id: beginning, by: '@ana' });
  expect(before).toMatch(new RegExp(`^This would acknowledge 1 alert: ${id} of rule`));
  expect(done).toMatch(new RegExp(`^Alert ${id} is acknowledged; [^]*acknowledged by "@ana"`));
  const shown = await agent.call('show_alert', { id });
  expect(shown).toMatch(new RegExp(`^- run ${run} of workflow "billing": failed at `, 'm'));
  expect(shown).toMatch(/^Notified: audit at /m);
  const back = await agent.confirm('unacknowledge', { id: said(shown, /^(alr_\w+)/) });
  expect(back.before).toMatch(/^This would take the acknowledgement back of 1 alert/);
  expect(back.done).toMatch(new RegExp(`^Alert ${id} is no longer acknowledged\\.\n${id}`));
  expect(await agent.call('unacknowledge', { id, confirm: true })).toMatch(
    /^No user has acknowledged alr_/,
  );
  const { body } = await daemon.api<{ data: { action: string; via: string }[] }>('/v1/audit');
  expect(body.data.slice(0, 2).map(({ action, via }) => `${action} by ${via}`)).toEqual([
    'alert.unacknowledge by mcp',
    'alert.acknowledge by mcp',
  ]);
});

test('an AI client that reads texts alone silences the workflow of an alert by its name, and ends the silence', async () => {
  await watched('failed');
  const alert = await until('list_alerts', {}, /^(alr_\w+) of rule failed-runs .*firing/m);
  const name = said(await agent.call('show_alert', { id: alert }), /of workflow "(\w+)"/);
  const { before, done } = await agent.confirm('silence', {
    matchers: { workflow_id: name, rule: ['failed-runs'] },
    until: '2h',
    by: '@ana',
    comment: 'upgrade',
  });
  expect(before).toMatch(new RegExp(`^This would mute 1 alert that goes on.*\n- ${alert} `));
  expect(done).toMatch(/^Silence sil_\w+ is active, from \S+ until \S+Z, of .*"7d6c5b4a-/);
  expect(done).toMatch(new RegExp(`^It mutes 1 alert that goes on.*\n- ${alert} `, 'm'));
  const alerts = await agent.call('list_alerts');
  const id = said(alerts, /notifications are silenced by "@ana" \((sil_\w+)\) until/);
  expect(await agent.call('list_silences')).toMatch(new RegExp(`^${id} is active`));
  const ended = await agent.confirm('expire_silence', { id: id.slice(0, 12) });
  expect(ended.before).toMatch(new RegExp(`^This would end 1 silence: ${id} is active`));
  expect(ended.done).toMatch(new RegExp(`^Silence ${id} is expired`));
  expect(await agent.call('list_silences')).toMatch(/^No silence is in force or to come/);
  expect(await agent.call('list_alerts')).not.toContain('silenced');
});

test('an AI client that reads texts alone redelivers what list_attention says is dead, by id and by endpoint', async () => {
  receives = false;
  const runs = [await watched('failed', ['hooks']), await watched('failed', ['hooks'])];
  const endpoint = await until('list_attention', {}, /^dead \(2\): endpoint (\w+),/m);
  const dead = await agent.call('list_deliveries', { endpoint, state: 'dead' });
  expect(dead).toMatch(/^2 deliveries in all, the newest first\.$/m);
  const [first = ''] = dead.split('\n');
  expect(first).toMatch(
    new RegExp(
      `^dlv_\\S+: run\\.failed to hooks is dead after 2 attempts, created \\S+Z, of run ${runs[1]}, event evt_\\S+, the last attempt failed \\(400\\): ".*" in \\S+; ${daemon.url}/deliveries/dlv_`,
    ),
  );
  receives = true;
  const id = said(first, /^(dlv_[^:]+):/);
  expect(await agent.call('show_delivery', { id })).toMatch(/^2 of 2 attempts are listed/m);
  const { before, done } = await agent.confirm('redeliver', { ids: id });
  expect(before).toMatch(/^This would deliver 1 delivery again:\n- dlv_[^]*Nothing has changed/);
  const sent = said(done, /^(dlv_\S+) goes out again to hooks \(event evt_/);
  await until('show_delivery', { id: sent }, /to hooks is (delivered)/);
  const range = { endpoint, since: '1h' };
  const all = await agent.confirm('redeliver', range);
  expect(all.before).toMatch(
    new RegExp(`^This would deliver 1 delivery again:\n.*of run ${runs[0]}`),
  );
  expect(all.done).toMatch(/^1 delivery goes out again/);
  await until('list_deliveries', { run_id: runs[0], endpoint }, /is (delivered)/);
  expect(await agent.call('redeliver', range)).toBe('No delivery that is dead or skipped matches.');
});

test('an AI client finds a run whose id has slashes as a resource, reads it and acknowledges it', async () => {
  const asked = { run_id: 'acme/shop/123', source: 'ci' };
  const { before, done } = await agent.confirm('watch_run', asked);
  expect(before).toMatch(/^This would watch 1 run: acme\/shop\/123 of source ci, and notify/);
  expect(done).toMatch(/^Run acme\/shop\/123 is watched now\. Notifies endpoint audit\./);
  await until('list_runs', { source: 'ci' }, /^(Run acme\/shop\/123 of workflow "nightly")/m);
  const listed = (await agent.resources()).find((line) => line.includes('acme'));
  const uri = said(listed ?? '', /^(run:\S+) Run acme\/shop\/123/);
  expect(uri).toBe('run://ci/acme/shop/123');
  expect(await agent.templates()).toEqual(['run://{source}/{+run_id}']);
  const text = await agent.read(uri);
  const id = said(text, /^Run (\S+) of workflow "nightly" \(source ci\) is running/);
  const taken = await agent.confirm('acknowledge', { id, by: '@ana' });
  expect(taken.done).toMatch(/^Run acme\/shop\/123 is acknowledged/);
  expect(await agent.read('run://ci/123')).toMatch(/^Acknowledged by "@ana"/m);
  const back = await agent.confirm('unacknowledge', { id: '123' });
  expect(back.done).toMatch(/^Run acme\/shop\/123 is no longer acknowledged\./);
  expect(await agent.complete('source', 'c')).toEqual(['ci']);
  expect(await agent.complete('run_id', 'acme/sh', { source: 'ci' })).toEqual(['acme/shop/123']);
});

test('a run that two sources have is shown once its source is named, and the error names both', async () => {
  for (const source of ['ci', 'mirror']) {
    await agent.call('watch_run', { run_id: 'acme/shop/7', source, confirm: true });
  }
  const unclear = await agent.ask('show_run', { run_id: 'acme/shop/7' });
  expect(unclear).toMatchObject({ isError: true, text: expect.stringMatching(/ci.*mirror/) });
  expect(await agent.call('show_run', { run_id: 'acme/shop/7', source: 'mirror' })).toMatch(
    /^Run acme\/shop\/7 .*\(source mirror\)/,
  );
});

test('an AI client pages through runs by the cursors in the texts, and sees each once', async () => {
  const ids = await Promise.all(Array.from({ length: 5 }, () => watched('stopped')));
  const asked = { status: 'stopped', limit: 2 };
  let text = await agent.call('list_runs', asked);
  expect(text).toMatch(/\n2 of 5 runs are shown, those that changed last first; for the next ones/);
  const seen: string[] = [];
  for (;;) {
    seen.push(...[...text.matchAll(/^Run (\S+)/gm)].map(([, id = '']) => id));
    const cursor = /call again with the same arguments and cursor=(\S+)$/.exec(text)?.[1];
    if (cursor === undefined) break;
    text = await agent.call('list_runs', { ...asked, cursor });
  }
  expect(seen.toSorted()).toEqual(ids.toSorted());
});

test.each([
  ['show_run', { run_id: 'nosuch' }, /run nosuch is not watched; list_runs .* watch_run/],
  ['list_runs', { source: 'nosuch' }, /no source is named .*nosuch.*expected one of: default, ci/],
  ['list_runs', { workflow_id: 'nosuch' }, /no workflow is called .*nosuch.*billing/],
  ['list_runs', { workflow: 'billing' }, /there is no argument workflow; arguments are: status/],
  [
    'list_runs',
    { status: 'broken' },
    /status: no run has this status; expected any of queued, running/,
  ],
  ['list_alerts', { rule: 'nosuch' }, /no rule "nosuch"; expected one of: failed-runs/],
  ['show_alert', { id: 'alr_nosuch' }, /no alert alr_nosuch; list_alerts/],
  ['list_workflows', { source: 'nosuch' }, /no source is named .*expected one of/],
  [
    'list_deliveries',
    { endpoint: 'nosuch' },
    /no endpoint "nosuch"; expected one of: audit, hooks/,
  ],
  ['list_deliveries', { source: 'nosuch' }, /no source .*nosuch.*expected one of: default, ci/],
  ['show_delivery', { id: 'dlv_nosuch' }, /no delivery dlv_nosuch; list_deliveries/],
  ['watch_run', { run_id: 'x', endpoints: ['nosuch'] }, /no endpoint "nosuch"; .*audit, hooks/],
  ['watch_run', { run_id: 'x', source: 'nosuch' }, /no source "nosuch"; expected one of: default/],
  ['watch_run', { run_id: 'a b' }, /"a b" is not a run id/],
  ['redeliver', {}, /expected ids, or an endpoint or since/],
  ['redeliver', { ids: 'dlv_nosuch', endpoint: 'hooks' }, /expected either ids, or endpoint/],
  ['redeliver', { ids: ['dlv_nosuch'] }, /no delivery dlv_nosuch; list_deliveries/],
  ['redeliver', { endpoint: 'nosuch' }, /no endpoint "nosuch"; expected one of: audit, hooks/],
  ['acknowledge', { id: 'nosuch', by: '@ana' }, /run nosuch is not watched/],
  ['unacknowledge', { id: 'alr_nosuch' }, /no alert alr_nosuch; list_alerts/],
  ['expire_silence', { id: 'sil_nosuch' }, /no silence sil_nosuch; list_silences/],
  [
    'wait_run',
    { run_id: 'nosuch', timeout: 'soon' },
    /expected a duration such as 30s, got "soon"/,
  ],
] as const)('%s %j is an error that says what was expected', async (tool, given, expected) => {
  for (const confirm of tool.startsWith('list_') || !ACTS.has(tool)
    ? [{}]
    : [{}, { confirm: true }]) {
    const { text, isError } = await agent.ask(tool, { ...given, ...confirm });
    expect([text, isError]).toEqual([expect.stringMatching(expected), true]);
  }
});

const ACTS = new Set(['watch_run', 'redeliver', 'acknowledge', 'unacknowledge', 'expire_silence']);

test.each([
  [
    'a rule that there is not',
    { rule: 'nosuch' },
    /no rule "nosuch"; expected one of: failed-runs/,
  ],
  ['a workflow that there is not', { workflow_id: 'nosuch' }, /no workflow is called .*nosuch/],
  ['a source that there is not', { rule: 'failed-runs', source: 'nosuch' }, /no source "nosuch"/],
  ['a type of event that there is not', { event: 'run.nosuch' }, /run\.failed/],
])('silence refuses %s, and adds nothing', async (_, matchers, expected) => {
  const body = { matchers, until: '1h', by: '@ana', comment: 'why', confirm: true };
  const { text, isError } = await agent.ask('silence', body);
  expect([text, isError]).toEqual([expect.stringMatching(expected), true]);
  expect(await agent.call('list_silences')).not.toMatch(/is active/);
});

test('a resource of a run that is not watched, or of no source, is an error that says what was expected', async () => {
  await expect(agent.read('run://ci/acme/shop/999')).rejects.toThrow(
    /acme\/shop\/999 is not watched/,
  );
  await expect(agent.read('run://nosuch/1')).rejects.toThrow(/no source "nosuch"; expected one of/);
  await expect(agent.read('run://ci/%zz')).rejects.toThrow(/expected owner\/repo\/number/);
});
