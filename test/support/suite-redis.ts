/** The environment variable with which global-setup passes the suite's Redis to the test files. */
export const SUITE_REDIS = 'RUNWATCH_TEST_REDIS_URL';
