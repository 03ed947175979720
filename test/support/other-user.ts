/** The id of a user other than the one that runs the tests. */
export const OTHER_USER = 65_534;

/** Whether a test can act as another user; if not, a line says what is not tested. */
export function isRoot(reason: string): boolean {
  if (process.getuid?.() === 0) return true;
  process.stderr.write(`not shown by this run, since ${reason}\n`);
  return false;
}
