import { z } from 'zod';
import type { Complaint } from './noxus-error.ts';
import type { StoryName } from './stories.ts';
import { STARTABLE_STORIES, type Workflow } from './workflow-catalog.ts';

const callbackUrl = z
  .url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' })
  .max(2_048);

/** Body of `POST /v1/workflows/{workflow_id}/runs`; what else stands in it is ignored. */
export const startSchema = z.object({
  input: z.record(z.string(), z.unknown()),
  node_ids: z.array(z.string()).nullish(),
  single_node_id: z.string().nullish(),
  group_id: z.uuid().nullish(),
  workflow_version_id: z.uuid().nullish(),
  callback_url: callbackUrl.nullish(),
});

export type StartRequest = z.output<typeof startSchema>;

/** The story that a run plays: that of its workflow, unless its input names one. */
export function storyOf({ input }: StartRequest, workflow: Workflow): StoryName | Complaint {
  const named = input['story'];
  if (named === undefined) return workflow.story;
  const known = STARTABLE_STORIES.find((name) => name === named);
  if (known !== undefined) return known;
  const names = STARTABLE_STORIES.map((name) => `'${name}'`);
  const expected = `${names.slice(0, -1).join(', ')} or ${names.at(-1) ?? ''}`;
  return {
    type: 'enum',
    loc: ['body', 'input', 'story'],
    msg: `Input should be ${expected}`,
    input: named,
    ctx: { expected },
  };
}

/** Body of `POST /v1/runs/search`. */
export const searchSchema = z.object({
  query: z.string(),
  limit: z.int().min(1).max(100).default(10),
  offset: z.int().min(0).default(0),
  exact: z.boolean().default(true),
  search_in: z.array(z.enum(['input', 'output', 'other', 'run_id'])).nullish(),
});

export type SearchRequest = z.output<typeof searchSchema>;

/** Body of `POST /v1/runs/bulk/delete`. */
export const bulkDeleteSchema = z.object({
  run_ids: z.array(z.string()).max(10_000).nullish(),
  filters: z
    .object({
      to_date: z.iso.datetime({ offset: true }).nullish(),
      workflow_id: z.uuid().nullish(),
    })
    .nullish(),
  expected_count: z.int().nullish(),
  dry_run: z.boolean().default(false),
});

export type BulkDeleteRequest = z.output<typeof bulkDeleteSchema>;
