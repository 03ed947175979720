import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { closePage, launchBrowser, newContext, openPageIn } from '../support/browser.ts';
import { openStage, WORKFLOWS, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

/** Runs that ended, each with a delivery that waits at a paused endpoint. */
const RUNS = {
  invoice: { workflow: 'invoices', status: 'failed', source: 'default', team: 'finance' },
  'another invoice': { workflow: 'invoices', status: 'failed', source: 'default', team: 'finance' },
  report: { workflow: 'weekly report', status: 'stopped', source: 'default', team: 'care' },
  'another report': {
    workflow: 'weekly report',
    status: 'stopped',
    source: 'default',
    team: 'care',
  },
  elsewhere: { workflow: 'onboarding', status: 'completed', source: 'other', team: 'sales' },
  'also elsewhere': { workflow: 'onboarding', status: 'completed', source: 'other', team: 'sales' },
} as const;

type Name = keyof typeof RUNS;

const REPORTS: Name[] = ['another report', 'report'];

/** Each filter of the screen, and what it leaves of the runs. */
const FILTERS: readonly (readonly [string, readonly Name[]])[] = [
  ['q=weekly', REPORTS],
  ['q=team%3Dcare', REPORTS],
  ['q=team%3Dcare+weekly', REPORTS],
  ['status=stopped', REPORTS],
  [`workflow=${WORKFLOWS['weekly report']}`, REPORTS],
  ['source=other', ['also elsewhere', 'elsewhere']],
  ['state=finished&q=onboarding', ['also elsewhere', 'elsewhere']],
  ['since=1h&status=stopped', REPORTS],
];

/** Each action on many runs: its button, its dialog, and the request that it makes for one. */
const ACTIONS = [
  ['Unwatch …', 'Unwatch 2 runs?', 'Unwatch', /^DELETE .*\/v1\/watches\/([^/?]+)\?source=(\w+)$/],
  [
    'Acknowledge',
    'Acknowledge 2 runs',
    'Acknowledge',
    /^POST .*\/v1\/watches\/([^/?]+)\/acknowledge\?source=(\w+)$/,
  ],
  [
    'Redeliver …',
    'Redeliver 2 deliveries?',
    'Redeliver',
    /^POST .*\/v1\/deliveries\/([^/?]+)\/redeliver$/,
  ],
] as const;

let stage: Stage;
let browser: Browser;
let context: BrowserContext;
/** The name of a run by what requests name: source and id, or the id of its delivery. */
const named = new Map<string, Name>();

beforeAll(async () => {
  browser = await launchBrowser();
  stage = await openStage({ sources: ['other'], config: { rules: [] } });
  context = await newContext(browser);
  for (const endpoint of ['ops', 'flaky']) {
    await stage.daemon.api(`/v1/endpoints/${endpoint}/pause`, {});
  }
  for (const [name, { workflow, status, source, team }] of Object.entries(RUNS)) {
    const id = await stage.run(
      {
        workflow_id: WORKFLOWS[workflow],
        steps: [{ after_ms: 1, status, progress: 50 }],
      },
      { source, metadata: { team }, endpoints: ['ops'] },
    );
    const { body } = await waitFor(
      async () => {
        const listed = await stage.daemon.api(`/v1/deliveries?run_id=${id}&state=parked`);
        return listed.body.data.length === 1 ? listed : null;
      },
      { describe: `a parked delivery of ${name}` },
    );
    named.set(`${id} ${source}`, name as Name);
    named.set(body.data[0].id, name as Name);
  }
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

/** Answers changes in place of the daemon. @returns what they were, as they come */
async function intercept(page: Page): Promise<string[]> {
  const changes: string[] = [];
  await page.route('**/v1/**', async (route) => {
    const request = route.request();
    if (request.method() === 'GET') return route.fallback();
    changes.push(`${request.method()} ${request.url()}`);
    return route.fulfill({ status: 200, contentType: 'application/json', body: '{}' });
  });
  return changes;
}

const cases = ACTIONS.flatMap((action) =>
  FILTERS.map(([filter, left]) => ({ action, button: action[0], filter, left })),
);

test.each(cases)(
  '"$button" on all that match acts on the runs that $filter shows, and on no other',
  async ({ action: [button, title, verb, pattern], filter, left }) => {
    const watched = await openPageIn(context, { url: `${stage.url}/runs?${filter}` });
    const { page, errors } = watched;
    const changes = await intercept(page);
    await page
      .getByText(/^2 runs$/)
      .first()
      .waitFor();
    await page.locator('tr[data-key] input[type=checkbox]').first().check();
    await page.getByRole('button', { name: 'Select all 2 matching' }).click();
    await page.getByText('2 selected runs').waitFor();
    await page.getByRole('button', { name: button }).click();
    const dialog = page.getByRole('dialog', { name: title });
    const name = dialog.getByLabel('Your name');
    if (verb === 'Acknowledge') await name.fill('ana');
    await dialog.getByRole('button', { name: verb, exact: true }).click();
    await waitFor(async () => changes.length >= left.length, {
      describe: 'a request for each run',
    });
    await page.getByText('2 selected runs').waitFor({ state: 'detached' });
    const touched = changes.map((change) => {
      const parts = pattern.exec(change)?.slice(1) ?? [change];
      return named.get(parts.join(' ')) ?? change;
    });
    expect(touched.toSorted()).toEqual(left);
    expect(errors).toEqual([]);
    await closePage(watched);
  },
);

test('a run that a later filter hides is selected no more', async () => {
  const watched = await openPageIn(context, { url: `${stage.url}/runs` });
  const { page } = watched;
  const changes = await intercept(page);
  await page.getByRole('checkbox', { name: 'Select all rows that are shown' }).check();
  await page.getByText('6 selected runs').waitFor();
  await page.getByRole('searchbox', { name: 'Filter' }).fill('weekly');
  await page.getByText('2 selected runs').waitFor();
  await page.getByRole('button', { name: 'Unwatch …' }).click();
  const dialog = page.getByRole('dialog', { name: 'Unwatch 2 runs?' });
  await dialog.getByText('Shown are with “weekly”.').waitFor();
  expect(await dialog.getByText('weekly report · stopped').count()).toBe(2);
  await dialog.getByRole('button', { name: 'Unwatch' }).click();
  await waitFor(async () => changes.length >= 2, { describe: 'both requests' });
  await page.getByText('Stopped watching 2 runs.').waitFor();
  expect(changes).toHaveLength(2);
  await closePage(watched);
});
