import { fileURLToPath } from 'node:url';

/**
 * The environment variable with which e2e-setup passes another form of the product to the test files. The product would
 * warn of one that begins as its own.
 */
export const TEST_MAIN = 'E2E_MAIN';

/** The entry point of what is shipped. */
export const SHIPPED_MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** The entry point of the product as a process: of what is shipped, unless a form is named that starts quicker. */
export const MAIN = process.env[TEST_MAIN] ?? SHIPPED_MAIN;
