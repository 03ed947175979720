const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi;

/**
 * The id of a run in a URL of Noxus's pages or API: what follows `runs` in the path, else the last UUID; null for
 * pages of no run, such as a list.
 */
export function runIdInUrl({ pathname, search, hash }: URL): string | null {
  const parts = `${pathname}${hash}`.split(/[/#?&=]/).filter((part) => part !== '');
  const runsAt = parts.findIndex((part) => /^runs?$/i.test(part));
  const named = runsAt < 0 ? undefined : parts[runsAt + 1];
  if (named !== undefined) return named;
  return `${pathname}${search}${hash}`.match(UUID)?.at(-1) ?? null;
}
