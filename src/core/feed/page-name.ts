/** A page of a list: of a workflow's, or with null of all runs of the source. Pages count from 1. */
export interface PageName {
  workflowId: string | null;
  page: number;
}

/** Begins what is no run: no id of a run has a space. */
const PREFIX = ' ';

/** Whether a name in the schedule is a run's. */
export function isRunMember(member: string): boolean {
  return !member.startsWith(PREFIX);
}

/** The name of a source's plan in its schedule; the names of all that is no run begin with it. */
export const PLAN_MEMBER = PREFIX;

/** The name of a page in its source's schedule, beside the ids of runs. */
export function pageMember({ workflowId, page }: PageName): string {
  return `${PREFIX}${page}/${workflowId ?? ''}`;
}

/** The reverse of {@link pageMember}. */
export function parsePageMember(member: string): PageName {
  const slash = member.indexOf('/');
  const workflowId = member.slice(slash + 1);
  return {
    page: Number(member.slice(PREFIX.length, slash)),
    workflowId: workflowId === '' ? null : workflowId,
  };
}

/** The name of a run's event stream in its source's schedule. */
export function streamMember(runId: string): string {
  return `${PREFIX}run/${runId}`;
}

/** The reverse of {@link streamMember}. */
export function parseStreamMember(member: string): string {
  return member.slice(member.indexOf('/') + 1);
}
