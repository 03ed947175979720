import type { SuiteGlobals } from './global-setup.ts';

export default async function globalTeardown(): Promise<void> {
  await (globalThis as SuiteGlobals).suiteRedis?.stop();
}
