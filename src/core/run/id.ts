import { createHash } from 'node:crypto';
import { percentDecoded } from '../percent-encoding.ts';

/**
 * The form of the ids of runs and workflows, whatever their source; each source has a narrower one of its
 * own. Servers and proxies on the way would take other segments, and encoded slashes, for another path.
 */
export const ID_PATTERN = /^(?!.*%(?:2[Ff]|5[Cc]))(?!(?:.*\/)?\.{0,2}(?:\/|$))[!-~]{1,255}$/;

/** The same in words, behind "expected". */
export const ID_SHAPE =
  '1 to 255 printable ASCII characters without spaces, no part between slashes empty, . or .., and no %2f or %5c';

/** A key of `workflows` in the configuration: the id of a workflow, perhaps behind the name of a source. */
export const WORKFLOW_ENTRY_PATTERN = new RegExp(
  `^(?:[A-Za-z0-9][A-Za-z0-9_-]{0,62}/)?${ID_PATTERN.source.slice(1)}`,
);

/** What is no letter, digit or mark of {@link ID_PATTERN}. */
const OUTSIDE = /[^!-~]/gu;

/** A percent-encoded byte. */
const ENCODED = /%[\da-f]{2}/i;

/**
 * The id of a workflow from what a source calls it: the same where that has the form of an id, else with
 * percent-encoded characters, else a hash. No two names have one id.
 */
export function workflowIdFrom(given: string): string {
  if (ID_PATTERN.test(given) && !ENCODED.test(given)) return given;
  const escaped = given
    .toWellFormed()
    .replaceAll('%', '%25')
    .replaceAll(OUTSIDE, encodeURIComponent);
  if (ENCODED.test(escaped) && ID_PATTERN.test(escaped)) return escaped;
  return `sha256:${createHash('sha256').update(given).digest('hex')}`;
}

/** What the source calls a workflow: the reverse of {@link workflowIdFrom}. Of a hash, the hash. */
export function givenWorkflow(workflowId: string): string {
  if (!ENCODED.test(workflowId)) return workflowId;
  // One that a configuration gives need not come from a source.
  return percentDecoded(workflowId) ?? workflowId;
}
