/** What can be found by the beginning of its id. */
export const LOOKUP_KINDS = ['run', 'event', 'delivery'] as const;

export type LookupKind = (typeof LOOKUP_KINDS)[number];
