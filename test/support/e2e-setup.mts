import { TEST_MAIN } from './built-main.ts';
import globalSetup from './global-setup.mts';
import { buildOneFile } from './one-file/build.ts';
import requireBuild from './require-build.mts';

/** The form of the product that {@link TEST_MAIN} names is tested if it is set, as to `dist/main.js`. */
export default async function e2eSetup(): Promise<void> {
  requireBuild();
  await globalSetup();
  process.env[TEST_MAIN] ??= await buildOneFile();
}
