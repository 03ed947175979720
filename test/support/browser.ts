import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The Chromium of the system, which `npm test` installs where it is missing. */
export function launchBrowser(): Promise<Browser> {
  const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
  return chromium.launch({ executablePath, args: FLAGS, headless: true });
}

/** A page that keeps account of what no page may do. */
export interface WatchedPage {
  page: Page;
  context: BrowserContext;
  /** Errors of the console and of scripts; answers of the API that are refusals are left out. */
  errors: string[];
  /** Addresses of other origins that were asked. */
  foreign: string[];
}

interface PageOptions {
  url: string;
  width?: number;
  height?: number;
  theme?: 'light' | 'dark';
}

export async function openPage(
  browser: Browser,
  { url, width = 1_400, height = 900, theme = 'light' }: PageOptions,
): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme,
    timezoneId: 'UTC',
    locale: 'en-GB',
  });
  const page = await context.newPage();
  const errors: string[] = [];
  const foreign: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('request', (request) => {
    const asked = request.url();
    if (!asked.startsWith(new URL(url).origin) && !asked.startsWith('data:')) foreign.push(asked);
  });
  await page.goto(url);
  return { page, context, errors, foreign };
}
