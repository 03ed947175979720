import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import {
  closePage,
  drawn,
  hold,
  launchBrowser,
  newContext,
  openPageIn,
  type Held,
  type WatchedPage,
} from '../support/browser.ts';
import { waitForWatch } from '../support/daemon-listings.ts';
import { openStage, WORKFLOWS, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

let stage: Stage;
let browser: Browser;
let context: BrowserContext;
let watched: WatchedPage;
let page: Page;

/** The answer of the receiver `flaky`. */
let flaky = 204;

beforeAll(async () => {
  browser = await launchBrowser();
  stage = await openStage({ flaky: () => flaky });
  context = await newContext(browser);
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

beforeEach(async () => {
  watched = await openPageIn(context, { url: `${stage.url}/` });
  ({ page } = watched);
  await live();
});

afterEach(() => closePage(watched));

const live = () => page.getByText('Live', { exact: true }).waitFor();
const row = (id: string) => page.locator(`tr[data-key="default/${id}"]`);
const place = (name: string) =>
  page.getByRole('navigation', { name: 'Screens' }).getByRole('link', { name });

async function open(path: string): Promise<void> {
  await page.goto(`${stage.url}${path}`);
  await live();
}

/** A run that a poll has found so. */
async function watchRun(status: string, afterMs = 1): Promise<string> {
  const steps = [{ after_ms: afterMs, status, progress: 20 }];
  const id = await stage.run({ workflow_id: WORKFLOWS.invoices, age_ms: 60_000, steps });
  await waitForWatch(stage.daemon, id, ({ run }) => run?.status === status);
  return id;
}

/** Lets requests go and waits until what their answers change is drawn. */
async function answered({ letGo, requests }: Held): Promise<void> {
  const [, path = ''] = requests[0]?.split(' ') ?? [];
  const answer = page.waitForResponse((response) => response.url().endsWith(path));
  letGo();
  await (await answer).finished();
  await drawn(page);
}

describe('an answer that comes late', () => {
  test('a list of alerts that is read again shows those of the filter', async () => {
    await watchRun('failed');
    await open('/alerts');
    await page.locator('tbody tr').first().waitFor();
    const ofFilter = () =>
      page.waitForResponse((answer) => /v1\/alerts\?.*state=firing/.test(answer.url()));
    const first = ofFilter();
    await page.getByRole('group', { name: 'State' }).getByRole('link', { name: 'Firing' }).click();
    await first;
    await (await ofFilter()).finished();
    await drawn(page);
    expect(await page.locator('tbody tr').count()).toBeGreaterThan(0);
  });

  test.each([
    ['/alerts', '**/v1/alerts?*'],
    ['/workflows', '**/v1/workflows?*'],
  ])('of %s is waited for, however often the screen is to be read again', async (path, url) => {
    await page.clock.install();
    const held = await hold(page, url);
    await page.goto(`${stage.url}${path}`);
    await waitFor(() => held.requests.length > 0);
    await page.clock.runFor(18_000);
    expect(held.requests).toHaveLength(1);
    held.letGo();
    await page.locator('tbody tr').first().waitFor();
  });

  test('does not undo the event that came before it', async () => {
    const id = await watchRun('running');
    const held = await hold(page, /\/v1\/watches\?.*limit=200/, { isAnswered: true });
    await open('/runs?status=running');
    await waitFor(() => held.requests.length > 0);
    const heard = page.waitForRequest('**/v1/attention*');
    stage.noxus.setStatus(id, 'completed', 100);
    await waitForWatch(stage.daemon, id, ({ state }) => state === 'finished');
    await heard;
    held.letGo();
    await row(id).getByText('completed').waitFor();
  });

  test('of a lookup does not replace the run that was asked for after it', async () => {
    await open('/deliveries');
    const held = await hold(page, /\/v1\/lookup\?.*q=first/);
    const field = page.getByLabel('Run', { exact: true });
    await field.fill('first');
    await field.press('Enter');
    await waitFor(() => held.requests.length === 1);
    await field.fill('second');
    await field.press('Enter');
    await page.waitForURL('**/deliveries?run=second');
    await answered(held);
    expect(new URL(page.url()).search).toBe('?run=second');
  });

  test('asks nothing about runs that were selected on another screen', async () => {
    const id = await watchRun('failed');
    await open('/runs?status=failed');
    await row(id).getByRole('checkbox').check();
    const held = await hold(page, '**/v1/deliveries?*run_id=*');
    await page.getByRole('button', { name: 'Redeliver …' }).click();
    await waitFor(() => held.requests.length > 0);
    await place('System').click();
    await page.getByRole('heading', { level: 1, name: 'System' }).waitFor();
    await answered(held);
    expect(await page.getByRole('dialog').count()).toBe(0);
  });

  test('shows a new secret on whatever screen a user is by then', async () => {
    await open('/endpoints');
    const held = await hold(page, '**/v1/endpoints/ops/rotate');
    const card = page.getByRole('region', { name: 'ops' });
    await card.getByRole('button', { name: 'Rotate secret' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click();
    await waitFor(() => held.requests.length === 1);
    await place('System').click();
    await page.getByRole('heading', { level: 1, name: 'System' }).waitFor();
    held.letGo();
    await page.getByRole('dialog', { name: 'The new secret' }).getByText('whsec_').waitFor();
  });

  test('closes only the dialog that it is of', async () => {
    const ids = [
      await watchRun('awaiting_human_feedback'),
      await watchRun('awaiting_human_feedback'),
    ];
    const acknowledge = async (id: string) => {
      await open(`/runs/default/${id}`);
      await page.getByRole('button', { name: 'Acknowledge' }).click();
      await page.getByLabel('Your name').fill('Ana');
    };
    const [one = '', other = ''] = ids;
    await acknowledge(one);
    const held = await hold(page, `**/v1/watches/${one}/acknowledge*`);
    await page.getByLabel('Your name').press('Enter');
    await waitFor(() => held.requests.length === 1);
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox').fill(other);
    await page.getByRole('option', { name: other }).click();
    await page.locator('h1').getByText(other).waitFor();
    await page.getByRole('button', { name: 'Acknowledge' }).click();
    await page.getByLabel('Comment').fill('asked finance');
    held.letGo();
    await page.getByText(`Acknowledged run ${one}.`).waitFor();
    const dialog = page.getByRole('dialog', { name: `Acknowledge run ${other}` });
    expect(await dialog.getByLabel('Comment').inputValue()).toBe('asked finance');
  });

  test('says in its dialog why something was refused, and keeps what was typed', async () => {
    const id = await watchRun('awaiting_human_feedback');
    await open(`/runs/default/${id}`);
    await page.route('**/acknowledge*', (route) =>
      route.fulfill({ status: 503, json: { detail: 'the store does not answer' } }),
    );
    await page.getByRole('button', { name: 'Acknowledge' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Your name').fill('Ana');
    await dialog.getByLabel('Comment').fill('asked finance');
    await dialog.getByRole('button', { name: 'Acknowledge' }).click();
    await dialog.getByRole('alert').getByText('The store does not answer.').waitFor();
    expect(await dialog.getByLabel('Comment').inputValue()).toBe('asked finance');
  });
});

describe('a list that is held', () => {
  test('rows under the pointer show what was missed while the daemon was away', async () => {
    const id = await watchRun('running');
    await open('/runs');
    await row(id).getByText('running').hover();
    const restarted = stage.restart();
    await page.getByText(/Reconnecting/).waitFor();
    stage.noxus.setStatus(id, 'stopped', 30);
    await restarted;
    await live();
    await row(id).getByText('stopped').waitFor();
  });

  test('alerts keep the pages that were scrolled to, and say what has become of them', async () => {
    await watchRun('failed');
    let rule = 'first-rule';
    await page.route(/\/v1\/alerts\?.*limit=200/, async (route) => {
      const url = new URL(route.request().url());
      const from = Number(url.searchParams.get('cursor') ?? 0);
      // The daemon knows no such page.
      url.searchParams.delete('cursor');
      const json = await (await route.fetch({ url: url.href })).json();
      const ids = Array.from({ length: 200 }, (_, at) => `alert-${from + at}`);
      const data = ids.map((id) => Object.assign({}, json.data[0], { id, rule }));
      await route.fulfill({
        json: { ...json, data, next_cursor: from < 400 ? `${from + 200}` : null },
      });
    });
    await open('/alerts?state=firing');
    const last = page.locator('tr[data-key="alert-390"]');
    await waitFor(
      async () => {
        await page.evaluate(() => window.scrollTo(0, 385 * 38));
        return (await last.count()) === 1;
      },
      { describe: 'the last rows of the second page' },
    );
    rule = 'second-rule';
    await last.getByText('second-rule').waitFor();
    expect(await last.count()).toBe(1);
  });

  test('deliveries show a retry, of which there is no event', async () => {
    flaky = 500;
    const id = await watchRun('failed');
    const found = async () => {
      const { body } = await stage.daemon.api(`/v1/deliveries?run_id=${id}&endpoint=flaky`);
      return body.data[0];
    };
    await waitFor(async () => (await found())?.attempt_count > 0);
    await open(`/deliveries?run=${id}&endpoint=flaky`);
    const delivery = page.locator('tbody tr').first();
    await delivery.getByText('500').waitFor();
    flaky = 204;
    await stage.daemon.api(`/v1/deliveries/${(await found()).id}/redeliver`, {});
    await delivery.getByText('delivered').waitFor();
  });
});

test('a range of time that was chosen can be changed', async () => {
  await open('/runs?since=2026-11-01T08:00:00.000Z&until=2026-11-02T08:00:00.000Z');
  const range = page.getByLabel('Time range');
  await range.selectOption('From … to …');
  const dialog = page.getByRole('dialog', { name: 'Time range' });
  expect(await dialog.getByLabel('From').inputValue()).toBe('2026-11-01T08:00');
  await dialog.getByLabel('To').fill('2026-11-03T08:00');
  await dialog.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL(/since=2026-11-01.*until=2026-11-03/);
});

test('keys of a wall do nothing', async () => {
  const id = await watchRun('awaiting_human_feedback');
  await open(`/runs/default/${id}?kiosk`);
  await page.getByRole('heading', { name: 'Time axis' }).waitFor();
  await page.keyboard.press('a');
  await drawn(page);
  expect(await page.getByRole('dialog').count()).toBe(0);
});

describe('a second click or key', () => {
  test('Enter twice makes one silence', async () => {
    await open('/alerts');
    await page.getByRole('button', { name: 'Silence …' }).click();
    const dialog = page.getByRole('dialog', { name: 'Silence' });
    await dialog.getByLabel('Event').fill('run.failed');
    await dialog.getByLabel('Your name').fill('Ana');
    await dialog.getByLabel('Why').fill('twice');
    const held = await hold(page, /\/v1\/silences$/);
    await dialog.getByLabel('Why').press('Enter');
    await waitFor(() => held.requests.length === 1);
    await dialog.getByLabel('Why').press('Enter');
    held.letGo();
    await dialog.waitFor({ state: 'detached' });
    expect(held.requests.filter((request) => request.startsWith('POST'))).toHaveLength(1);
  });

  test('a double click on Pause does not resume', async () => {
    await open('/endpoints');
    const card = page.getByRole('region', { name: 'ops' });
    const sent: string[] = [];
    page.on('request', (request) => request.method() === 'POST' && sent.push(request.url()));
    await card.getByRole('button', { name: 'Pause' }).dblclick({ delay: 50 });
    await card.getByText('paused', { exact: true }).waitFor();
    expect(sent).toEqual([`${stage.url}/v1/endpoints/ops/pause`]);
    await card.getByRole('button', { name: 'Resume' }).click();
    await card.getByText('active', { exact: true }).waitFor();
  });

  test('Escape twice leads back once', async () => {
    const id = await watchRun('running');
    await place('Runs').click();
    await row(id).getByRole('link').first().click();
    await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    await page.evaluate(() => {
      for (let left = 2; left > 0; left -= 1)
        document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }));
    });
    await page.getByRole('heading', { level: 1, name: 'Runs' }).waitFor();
    await drawn(page);
    expect(new URL(page.url()).pathname).toBe('/runs');
  });
});

test('the mark on Now is of a row, also as a heavier one comes above it or it goes', async () => {
  const rowOf = (endpoint: string, count: number) => ({
    kind: 'dead',
    severity: 'warning',
    count,
    since: new Date().toISOString(),
    message: `${count} were given up`,
    endpoint,
  });
  let data = [rowOf('one', 1), rowOf('two', 1)];
  await page.route('**/v1/attention*', (route) => route.fulfill({ json: { data, counts: {} } }));
  await open('/');
  const rows = page.locator('.need-row');
  await rows.nth(1).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  const marked = page.locator('.need-row.marked');
  await marked.getByText('two', { exact: true }).waitFor();
  data = [rowOf('three', 9), rowOf('one', 1), rowOf('two', 2)];
  await watchRun('failed');
  await rows.nth(2).waitFor();
  expect(await marked.locator('a').allInnerTexts()).toEqual(['two']);
  data = [rowOf('one', 1), rowOf('three', 9), rowOf('four', 1)];
  await watchRun('failed');
  await rows.getByText('four', { exact: true }).waitFor();
  await page.keyboard.press('j');
  await marked.getByText('four', { exact: true }).waitFor();
});

test('nothing moves while live updates are paused', async () => {
  await page.clock.install();
  await open('/runs');
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Resume' }).waitFor();
  const asked: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  const id = await watchRun('running');
  await page.clock.runFor(30_000);
  expect(asked).toEqual([]);
  await page.getByRole('button', { name: 'Resume' }).click();
  await row(id).waitFor();
});
