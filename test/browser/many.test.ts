import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchBrowser, openPage } from '../support/browser.ts';
import { openStage, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

const RUNS = 10_000;

let stage: Stage;
let browser: Browser;

beforeAll(async () => {
  const idle = {
    base_url: 'http://127.0.0.1:9',
    api_key: 'none',
    rate_limit: { requests: 1, per: '10s' },
  };
  browser = await launchBrowser();
  stage = await openStage({ config: { sources: { default: idle } } });
  for (let from = 0; from < RUNS; from += 1_000) {
    const watches = Array.from({ length: 1_000 }, (_, at) => ({ run_id: `run-${from + at}` }));
    const { status } = await stage.daemon.api('/v1/watches/batch', { watches });
    expect(status).toBe(200);
  }
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

test('ten thousand watches scroll to the last, with few rows drawn at a time', async () => {
  const { page, context, errors } = await openPage(browser, {
    url: `${stage.url}/runs?order=registered`,
  });
  await page.locator('tr[data-key]').first().waitFor();
  await page
    .getByText(/10,000 runs/)
    .first()
    .waitFor();
  const last = page.locator('tr[data-key="default/run-0"]');
  await waitFor(
    async () => {
      await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
      expect(await page.locator('tr[data-key]').count()).toBeLessThan(120);
      return (await last.count()) === 1;
    },
    { describe: 'the row of the first run', everyMs: 50 },
  );
  await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight / 2));
  await page.locator('tr[data-key]').first().waitFor();
  expect(errors).toEqual([]);
  await context.close();
});

test.each([390, 1_400])(
  'a list is as high as all rows that it has read, drawn or not, at a width of %d px',
  async (width) => {
    const { page, context } = await openPage(browser, {
      url: `${stage.url}/runs?order=registered`,
      width,
    });
    const row = page.locator('tr[data-key]').first();
    await row.waitFor();
    const heights = () =>
      page.evaluate(() => {
        const rowHeight = document.querySelector('tr[data-key]')?.getBoundingClientRect().height;
        const body = document.querySelector('.rows tbody')?.getBoundingClientRect().height;
        return { rowHeight, rows: (body ?? 0) / (rowHeight ?? 1) };
      });
    // The first page has 200 rows.
    await waitFor(async () => Math.abs((await heights()).rows - 200) < 1, {
      describe: 'a list of 200 rows',
    });
    await context.close();
  },
);

test('all of ten thousand watches that a word matches are read before they are selected', async () => {
  const { page, context } = await openPage(browser, {
    url: `${stage.url}/runs?order=registered&q=run-77`,
  });
  await page.locator('tr[data-key] input[type=checkbox]').first().check();
  await page.getByRole('button', { name: /^Select all/ }).click();
  await page.getByText('111 selected runs').waitFor();
  await page.getByRole('button', { name: 'Unwatch …' }).click();
  await page.getByRole('dialog', { name: 'Unwatch 111 runs?' }).waitFor();
  await context.close();
});
