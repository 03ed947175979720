import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../src/simulator/server.ts';
import { launchBrowser, openPage } from '../test/support/browser.ts';
import { withContext } from './support/context.ts';
import { sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { percentile, rounded, type BenchResult } from './support/figures.ts';
import { startRedis } from './support/redis.ts';

const BROWSERS = 8;
const RUNS = 60;
const SETTLE_MS = 8_000;

/** What a page must not do while it is scrolled: hold its thread for longer than this, ms. */
const LONG_TASK_MS = 50;

/** Times that a page is scrolled. The least figure counts: other processes only hold a page up. */
const SCROLLS = 3;

/** Runs whose end a page shows, and within what time after the event, ms. */
const ENDS = 20;
const LIVE_MS = 1_000;

interface BrowserOptions {
  seconds: number;
}

/**
 * What open dashboards cost a daemon: its CPU time with eight pages of Now, less that without any, while
 * about 50 events come each second. Then the time from an event to its row on a page, and the longest task
 * of a page that scrolls through 10,000 runs.
 */
export async function benchBrowser({ seconds }: BrowserOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const noxus = await startSimulator();
    context.onEnd(() => noxus.close());
    const daemon = await startDaemon(context, {
      profileDir: null,
      config: {
        redis: { url: `unix://${redis.socket}` },
        polling: { max_interval: '1s', hints: 'off', lists: 'off' },
        sources: {
          default: sourceAt(noxus, 1_000),
          // Asked for next to nothing, so that its runs only stand there.
          idle: sourceAt(noxus, 1, '10s'),
        },
      },
    });
    await watchRuns(daemon.url, noxus);
    const browser = await launchBrowser();
    context.onEnd(() => browser.close());
    await delay(SETTLE_MS);
    const before = await measure(daemon, seconds);
    for (let at = 0; at < BROWSERS; at += 1) await openPage(browser, { url: `${daemon.url}/` });
    await delay(SETTLE_MS);
    const during = await measure(daemon, seconds);
    for (const one of browser.contexts()) await one.close();
    const delays = await liveDelays(daemon, noxus, browser);
    await registerIdle(daemon.url);
    const longest: number[] = [];
    while (longest.length < SCROLLS) longest.push(await longestTask(daemon.url, browser));
    return {
      figures: [
        { name: 'events a second', value: rounded(during.eventsPerSecond), unit: '/s' },
        {
          name: `CPU of the daemon for ${BROWSERS} open dashboards`,
          value: rounded(during.cpuPercent - before.cpuPercent),
          unit: '% of a core',
          target: { atMost: 5 },
        },
        {
          name: 'p95 from an event to its row on a page',
          value: Math.round(percentile(delays, 0.95)),
          unit: 'ms',
          target: { atMost: LIVE_MS },
        },
        {
          name: 'longest task of a page that scrolls through 10,000 runs',
          value: Math.min(...longest),
          unit: 'ms',
          target: { atMost: LONG_TASK_MS },
        },
      ],
      details: { before, during, longest },
    };
  });
}

/** Starts runs that change their progress about once a second. */
async function watchRuns(url: string, noxus: Awaited<ReturnType<typeof startSimulator>>) {
  const ids = Array.from({ length: RUNS }, () => {
    const end = { after_ms: 100_000, status: 'running', progress: 99 };
    return noxus.add({ steps: [{ after_ms: 1, status: 'running', progress: 0 }, end] }).id;
  });
  await register(url, ids);
}

async function register(url: string, ids: readonly string[], source = 'default'): Promise<void> {
  const watches = ids.map((id) => ({ run_id: id, source, max_delay: '1s', endpoints: [] }));
  const answer = await fetch(`${url}/v1/watches/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ watches }),
  });
  if (!answer.ok) throw new Error(`the runs are not watched: ${await answer.text()}`);
}

async function measure(daemon: BenchDaemon, seconds: number) {
  const [events, usage] = [await countEvents(daemon.url), await daemon.usage()];
  await delay(seconds * 1_000);
  const after = await daemon.usage();
  return {
    cpuPercent: (after.cpuUs - usage.cpuUs) / seconds / 10_000,
    eventsPerSecond: ((await countEvents(daemon.url)) - events) / seconds,
  };
}

/** The events of all runs so far: the last sequence of each. */
async function countEvents(url: string): Promise<number> {
  const answer = await fetch(`${url}/v1/watches?state=active&limit=200`);
  const { data } = (await answer.json()) as { data: { sequence: number }[] };
  return data.reduce((sum, { sequence }) => sum + sequence, 0);
}

type Browser = Awaited<ReturnType<typeof launchBrowser>>;

/** Pages with the scripts below. */
interface Measured {
  longest?: number;
  /** When a row first showed the end of its run, by key. */
  ended?: Record<string, number>;
}

/** From the detection of a run's end to its row on an open page, ms. */
async function liveDelays(
  daemon: BenchDaemon,
  noxus: Awaited<ReturnType<typeof startSimulator>>,
  browser: Browser,
): Promise<number[]> {
  const steps = [{ after_ms: 1, status: 'running', progress: 0 }];
  const ids = Array.from({ length: ENDS }, () => noxus.add({ steps }).id);
  await register(daemon.url, ids);
  const { page, context } = await openPage(browser, {
    url: `${daemon.url}/runs?order=registered`,
    script: `globalThis.ended = {};
      new MutationObserver(() => {
        for (const row of document.querySelectorAll('tr[data-key]')) {
          if (row.textContent.includes('failed')) ended[row.dataset.key] ??= Date.now();
        }
      }).observe(document, { subtree: true, childList: true, characterData: true });`,
  });
  await page.locator(`tr[data-key="default/${ids[0]}"]`).waitFor();
  for (const id of ids) {
    noxus.setStatus(id, 'failed', 50);
    await page.locator(`tr[data-key="default/${id}"]`, { hasText: 'failed' }).waitFor();
  }
  const ended = await page.evaluate(() => (globalThis as Measured).ended ?? {});
  await context.close();
  const events = await daemon.events('run.failed');
  return events.map(({ data }) => {
    return (ended[`default/${data.run_id}`] ?? NaN) - Date.parse(data.detected_at);
  });
}

async function registerIdle(url: string): Promise<void> {
  for (let from = 0; from < 10_000; from += 1_000) {
    await register(
      url,
      Array.from({ length: 1_000 }, (_, at) => `run-${from + at}`),
      'idle',
    );
  }
}

async function longestTask(url: string, browser: Browser): Promise<number> {
  const { page, context } = await openPage(browser, {
    url: `${url}/runs?order=registered`,
    script: `globalThis.longest = 0;
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
      }).observe({ type: 'longtask' });`,
  });
  await page.locator('tr[data-key]').first().waitFor();
  await delay(2_000);
  await page.evaluate(() => {
    (globalThis as Measured).longest = 0;
  });
  for (let steps = 0; steps < 200; steps += 1) await page.mouse.wheel(0, 1_900);
  const longest = await page.evaluate(() => (globalThis as Measured).longest);
  await context.close();
  return Math.round(Number(longest));
}
