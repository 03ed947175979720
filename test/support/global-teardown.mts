import type { SuiteGlobals } from './global-setup.mts';

export default async function globalTeardown(): Promise<void> {
  const globals = globalThis as SuiteGlobals;
  const redis = globals.suiteRedis;
  // Each project ends the suite, and only the first finds it.
  delete globals.suiteRedis;
  await redis?.stop();
}
