import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import {
  closePage,
  hold,
  launchBrowser,
  newContext,
  openPageIn,
  violationsOf,
  type WatchedPage,
} from '../support/browser.ts';
import { openStage, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

/** More than two pages of a list. */
const RUNS = 450;

let stage: Stage;
let browser: Browser;
let context: BrowserContext;
let watched: WatchedPage;
let page: Page;

beforeAll(async () => {
  const idle = {
    base_url: 'http://127.0.0.1:9',
    api_key: 'none',
    rate_limit: { requests: 1, per: '10s' },
  };
  browser = await launchBrowser();
  stage = await openStage({ config: { sources: { default: idle } } });
  const watches = Array.from({ length: RUNS }, (_, at) => ({ run_id: `run-${at}` }));
  const { status } = await stage.daemon.api('/v1/watches/batch', { watches });
  expect(status).toBe(200);
  context = await newContext(browser);
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

const LIST = '/runs?order=registered';

beforeEach(async () => {
  watched = await openPageIn(context, { url: `${stage.url}${LIST}` });
  ({ page } = watched);
  await page.locator('tr[data-key]').first().waitFor();
});

afterEach(() => closePage(watched));

const row = (id: string) => page.locator(`tr[data-key="default/${id}"]`);
const scrollTop = () => page.evaluate<number>('window.scrollY');
const heading = (id: string) =>
  page.getByRole('heading', { level: 1 }).getByText(id, { exact: true });

/** Scrolls on until a row is in view, as far as more rows must be read; a page that draws late may have passed it. */
async function scrollTo(id: string): Promise<void> {
  await waitFor(
    async () => {
      if ((await row(id).count()) === 1) return isBroughtInView(row(id));
      await page.evaluate(() => {
        const isAtEnd = window.scrollY + window.innerHeight >= document.body.scrollHeight - 1;
        if (isAtEnd) window.scrollTo(0, 0);
        else window.scrollBy(0, (2 * window.innerHeight) / 3);
      });
      return false;
    },
    { describe: `the row of ${id}`, everyMs: 30 },
  );
}

/** @returns false where the row was drawn no more */
async function isBroughtInView(found: Locator): Promise<boolean> {
  const failed = () => false;
  return found.scrollIntoViewIfNeeded({ timeout: 1_000 }).then(() => true, failed);
}

/** The run whose row has the focus. */
const focused = () =>
  page.evaluate<string | null>(
    "document.activeElement?.closest('tr[data-key]')?.dataset.key ?? null",
  );

test('Back from a run of the third page of a list returns to its row, scrolled as it was, with the focus on it', async () => {
  await scrollTo('run-20');
  // The last row that can be seen.
  await row('run-20').evaluate((element) =>
    window.scrollBy(0, element.getBoundingClientRect().bottom - window.innerHeight),
  );
  // A click may scroll before it opens the row.
  await page.evaluate(
    "addEventListener('click', () => (window.left = scrollY), { capture: true })",
  );
  await row('run-20').getByRole('link').first().click();
  const before = await page.evaluate<number>('window.left');
  expect(before).toBeGreaterThan(10_000);
  await heading('run-20').waitFor();
  expect(await scrollTop()).toBe(0);
  await page.goBack();
  await waitFor(async () => (await focused()) === 'default/run-20');
  expect(await row('run-20').getAttribute('class')).toContain('marked');
  await waitFor(async () => Math.abs((await scrollTop()) - before) < 2);
  // The rows that were read are there: the list goes on from them.
  await scrollTo('run-0');
});

test('rows of a list that a user comes back to are read again, and keep their places', async () => {
  await row('run-440').getByRole('link').first().click();
  await heading('run-440').waitFor();
  await stage.daemon.api('/v1/watches', { run_id: 'run-newer' });
  const answer = await fetch(`${stage.url}/v1/watches/run-440`, { method: 'DELETE' });
  expect(answer.status).toBe(204);
  await page.goBack();
  await row('run-440').getByText('cancelled').waitFor();
  expect(await page.locator('tr[data-key]').first().getAttribute('data-key')).toBe(
    'default/run-449',
  );
  await page.getByRole('button', { name: '1 new run' }).waitFor();
});

test('Back from a filter whose runs were not read yet returns to a list that goes on', async () => {
  const ofCompleted = /limit=200.*status=completed|status=completed.*limit=200/;
  await page.route(ofCompleted, () => undefined);
  const asked = page.waitForRequest(ofCompleted);
  await page.getByRole('group', { name: 'State' }).getByRole('link', { name: 'Completed' }).click();
  await asked;
  await page.goBack();
  await scrollTo('run-0');
});

test('a list goes on where its end was reached while its first page was read again', async () => {
  const height = () => page.locator('.rows tbody').evaluate((body) => body.clientHeight);
  const before = await height();
  await row('run-448').getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Unwatch …' }).click();
  const ofFirst = (url: URL) =>
    url.searchParams.get('limit') === '200' && !url.searchParams.has('cursor');
  const held = await hold(page, ofFirst);
  await page.getByRole('dialog').getByRole('button', { name: 'Unwatch' }).click();
  // That of the list, and that of its total.
  await waitFor(() => held.requests.length >= 2);
  await page.keyboard.press('End');
  // One of the last rows of the first page.
  await row('run-255').waitFor();
  const further: string[] = [];
  page.on(
    'request',
    (request) => request.url().includes('&cursor=') && further.push(request.url()),
  );
  held.letGo();
  await waitFor(async () => (await height()) > 1.9 * before, { describe: 'two pages' });
  expect(further).toHaveLength(1);
});

test('j and k on the page of a run lead to its neighbours in the list with its filter, and Back to the last one', async () => {
  await page.goto(`${stage.url}${LIST}&q=run-7`);
  // It is the last: the pages before it have ten of the eleven.
  await row('run-7').waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.locator('tr.marked').waitFor();
  await page.keyboard.press('Enter');
  await heading('run-78').waitFor();
  await page.getByText('2 of 11', { exact: true }).waitFor();
  await page.keyboard.press('k');
  await heading('run-79').waitFor();
  expect(await page.getByRole('button', { name: 'Previous' }).isDisabled()).toBe(true);
  await page.keyboard.press('k');
  await page.keyboard.press('j');
  await heading('run-78').waitFor();
  await page.getByRole('button', { name: 'Next' }).click();
  await heading('run-77').waitFor();
  await page.keyboard.press('?');
  await page
    .getByRole('dialog', { name: 'Keys' })
    .getByText('next, previous of the list')
    .waitFor();
  await page.keyboard.press('Escape');
  const found = await violationsOf(page);
  expect(found).toEqual([]);
  await page.keyboard.press('Escape');
  await waitFor(async () => (await focused()) === 'default/run-77');
  expect(await page.getByLabel('Filter').inputValue()).toBe('run-7');
  // As a quick user does: the keys do not wait for what the page draws.
  await Promise.all([page.keyboard.press('j'), page.keyboard.press('Enter')]);
  await heading('run-76').waitFor();
});

test('a run that was opened by its address has no neighbours, and j and k do nothing', async () => {
  await page.goto(`${stage.url}/runs/default/run-7`);
  await heading('run-7').waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  await page.keyboard.press('?');
  const keys = page.getByRole('dialog', { name: 'Keys' });
  await keys.getByText('these keys').waitFor();
  expect(await keys.getByText('next, previous').count()).toBe(0);
  expect(new URL(page.url()).pathname).toBe('/runs/default/run-7');
  expect(await page.getByRole('navigation', { name: 'The list' }).count()).toBe(0);
});

test('a list that is opened anew begins at its top, whatever a user did before', async () => {
  await scrollTo('run-300');
  await row('run-300').getByRole('link').first().click();
  await heading('run-300').waitFor();
  await page
    .getByRole('navigation', { name: 'Screens' })
    .getByRole('link', { name: 'Runs' })
    .click();
  await page.locator('tr[data-key]').first().waitFor();
  expect(await scrollTop()).toBe(0);
  expect(await page.locator('tr.marked').count()).toBe(0);
});
