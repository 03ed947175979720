import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page, Route } from 'playwright-core';
import {
  closePage,
  drawn,
  launchBrowser,
  newContext,
  openPageIn,
  type WatchedPage,
} from '../support/browser.ts';
import { waitForWatch } from '../support/daemon-listings.ts';
import { openStage, WORKFLOWS, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

let stage: Stage;
let browser: Browser;
let context: BrowserContext;
let runId: string;

beforeAll(async () => {
  browser = await launchBrowser();
  stage = await openStage();
  context = await newContext(browser);
  await context.addInitScript(KEEP_PLACES);
  for (const status of ['failed', 'completed', 'awaiting_human_feedback', 'running'] as const) {
    runId = await stage.run(
      { workflow_id: WORKFLOWS.invoices, steps: [{ after_ms: 1, status, progress: 20 }] },
      { batch: 'nightly' },
    );
    await waitForWatch(stage.daemon, runId, ({ run }) => run?.status === status);
  }
  await waitFor(async () => {
    const { body } = await stage.daemon.api('/v1/alerts');
    return body.data.length > 0;
  });
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

/**
 * Keeps where each control was when it was first drawn, and gathers those that have moved since. One that is drawn as
 * another element counts as new. Keeps what was asked, too.
 */
const KEEP_PLACES = `
  const places = new Map();
  const asked = new Set();
  const { fetch } = window;
  window.fetch = (url, options) => {
    asked.add(new URL(url, location.href).href);
    return fetch(url, options);
  };
  // Effects that a frame has set off are timers.
  window.asked = () => new Promise((done) => setTimeout(() => done([...asked])));
  window.moved = () => {
    const moved = [];
    for (const control of document.querySelectorAll('a, button, input, select')) {
      const { x, y, width } = control.getBoundingClientRect();
      if (width === 0) continue;
      const first = places.get(control) ?? { x, y };
      places.set(control, first);
      const [right, down] = [Math.round(x - first.x), Math.round(y - first.y)];
      if (Math.max(Math.abs(right), Math.abs(down)) > 4)
        moved.push((control.textContent || control.ariaLabel) + ' by ' + right + ', ' + down);
    }
    return moved;
  };
`;

const OF_API = /\/v1\/(?!events\/stream)/;

/**
 * Holds the answers of the API, and lets one go after the other; a question that is asked again has the same answer.
 */
async function holdAnswers(page: Page) {
  const held: Route[] = [];
  const heard = new Set<string>();
  const given = new Map<string, { status: number; body: string }>();
  await page.route(OF_API, async (route) => {
    heard.add(route.request().url());
    const answer = given.get(route.request().url());
    if (answer === undefined) held.push(route);
    else await route.fulfill({ contentType: 'application/json', ...answer });
  });
  return {
    /** Says whether any is held, once all that the page has asked by now has come. */
    async isAny() {
      await drawn(page);
      const asked = await page.evaluate<string[]>('asked()');
      await waitFor(() => asked.every((url) => !OF_API.test(url) || heard.has(url)));
      return held.length > 0;
    },
    async letGo(order: 'first' | 'last') {
      const route = held.splice(order === 'first' ? 0 : -1, 1)[0] as Route;
      const response = await route.fetch();
      const answer = { status: response.status(), body: await response.text() };
      given.set(route.request().url(), answer);
      await route.fulfill({ contentType: 'application/json', ...answer });
      await (await route.request().response())?.finished();
      await drawn(page);
    },
  };
}

let watched: WatchedPage;

afterEach(() => closePage(watched));

describe.each(['first', 'last'] as const)(
  'answers that come, of those asked, the %s first',
  (order) => {
    test.each([
      '/',
      '/runs',
      '/runs/default/:id',
      '/batches',
      '/batches/nightly',
      '/deliveries',
      '/endpoints',
      '/alerts',
      '/workflows',
      '/system',
    ])('move nothing on %s that can be pressed', async (shape) => {
      watched = await openPageIn(context, { url: `${stage.url}/livez` });
      const { page } = watched;
      // Ages would grow, and push aside what stands beside them.
      await page.clock.setFixedTime(new Date());
      const answers = await holdAnswers(page);
      await page.goto(`${stage.url}${shape.replace(':id', runId)}`);
      const moved = new Set<string>();
      const look = async () => {
        for (const one of await page.evaluate<string[]>('moved()')) moved.add(one);
      };
      // What a screen asks at first, each asks two things or more, and then because of an answer.
      for (let number = 0; number < 2 || (await answers.isAny()); number += 1) {
        await waitFor(answers.isAny);
        await look();
        await answers.letGo(order);
        await look();
      }
      await page.locator('h1').waitFor();
      await drawn(page);
      await look();
      expect([...moved]).toEqual([]);
    });
  },
);
