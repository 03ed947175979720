import type { AuditRecord } from '../../core/audit.ts';
import { PlanKeys, type Keys } from '../keys.ts';

/** The newest records that are kept. */
const MOST_KEPT = 10_000;

/**
 * `audit(plan)` adds what a user did to the audit log, within the step that does it. The same record added again
 * changes nothing, so that a step may be taken again. `plan` is what {@link auditPlan} makes; nothing adds nothing.
 */
export const AUDIT = `
local function audit(plan)
  if not plan then return end
  redis.call('ZADD', plan.key, plan.at, plan.doc)
  redis.call('ZREMRANGEBYRANK', plan.key, 0, -1 - plan.kept)
end
`;

/** What {@link AUDIT} needs; undefined for nothing. */
export function auditPlan({ keys, declare }: PlanKeys, record: AuditRecord | null | undefined) {
  if (record === null || record === undefined) return undefined;
  const doc = JSON.stringify(record);
  return { key: declare(keys.audit), at: record.at, doc, kept: MOST_KEPT };
}

/** {@link auditPlan} as an argument of a script, with the further keys that it declares. */
export function auditArgument(keys: Keys, record: AuditRecord | null): AuditArgument {
  const planKeys = new PlanKeys(keys);
  const plan = auditPlan(planKeys, record);
  return { audited: plan && JSON.stringify(plan), further: planKeys.declared };
}

/** What a script takes that records what a user did: nothing, where no user did it. */
export interface AuditArgument {
  audited?: string | undefined;
  further: string[];
}

export const NO_AUDIT: AuditArgument = { further: [] };
