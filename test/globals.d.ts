import type * as jest from '@jest/globals';

// What jest puts into every test file.
declare global {
  const describe: typeof jest.describe;
  const test: typeof jest.test;
  const it: typeof jest.it;
  const expect: typeof jest.expect;
  const beforeAll: typeof jest.beforeAll;
  const beforeEach: typeof jest.beforeEach;
  const afterAll: typeof jest.afterAll;
  const afterEach: typeof jest.afterEach;
}
